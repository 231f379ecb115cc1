"""Makes the buckets named on the command line; the address and the credentials are those of the environment."""

import sys

import boto3


def main() -> None:
    """Make what is missing."""
    client = boto3.client("s3")
    there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    for name in set(sys.argv[1:]) - there:
        client.create_bucket(Bucket=name)


if __name__ == "__main__":
    main()

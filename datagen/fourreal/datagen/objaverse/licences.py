"""Licences under one name each: the SPDX identifier (spdx.org/licenses) of what Objaverse writes in several ways."""

from __future__ import annotations

_SPDX = {
    # Objaverse 1.0
    "by": "CC-BY-4.0",
    "by-sa": "CC-BY-SA-4.0",
    "by-nd": "CC-BY-ND-4.0",
    "by-nc": "CC-BY-NC-4.0",
    "by-nc-sa": "CC-BY-NC-SA-4.0",
    "by-nc-nd": "CC-BY-NC-ND-4.0",
    "cc0": "CC0-1.0",
    # Objaverse-XL: Sketchfab and Smithsonian
    "creative commons - attribution": "CC-BY-4.0",
    "creative commons - attribution - share alike": "CC-BY-SA-4.0",
    "creative commons - attribution - non-commercial": "CC-BY-NC-4.0",
    "creative commons - attribution - non-commercial - share alike": "CC-BY-NC-SA-4.0",
    "creative commons - public domain dedication": "CC0-1.0",
    # Objaverse-XL: GitHub
    "mit": "MIT",
    "mit license": "MIT",
    "apache license 2.0": "Apache-2.0",
    'bsd 2-clause "simplified" license': "BSD-2-Clause",
    'bsd 3-clause "new" or "revised" license': "BSD-3-Clause",
    "creative commons attribution 4.0 international": "CC-BY-4.0",
    "creative commons attribution share alike 4.0 international": "CC-BY-SA-4.0",
    "creative commons zero v1.0 universal": "CC0-1.0",
    "gnu general public license v2.0": "GPL-2.0-only",
    "gnu general public license v3.0": "GPL-3.0-only",
    "gnu affero general public license v3.0": "AGPL-3.0-only",
    "gnu lesser general public license v3.0": "LGPL-3.0-only",
    "mozilla public license 2.0": "MPL-2.0",
    "the unlicense": "Unlicense",
}
_BY_LOWER_CASE = {**{spdx.lower(): spdx for spdx in _SPDX.values()}, **_SPDX}


def spdx_of(licence: str | None) -> str:
    """The SPDX identifier of a licence; the text itself where none is known, "" for none."""
    text = (licence or "").strip()
    return _BY_LOWER_CASE.get(text.lower(), text)

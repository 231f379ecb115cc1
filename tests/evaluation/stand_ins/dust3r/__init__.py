"""Stands in for naver/dust3r with its calls, arguments and results; what it computes is its own."""

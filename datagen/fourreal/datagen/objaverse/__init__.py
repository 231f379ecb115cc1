"""Animated assets out of Objaverse 1.0 and XL: selected by what is published about them, downloaded with proof."""

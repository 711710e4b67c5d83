# SPDX-License-Identifier: Apache-2.0
"""Quantizing the transformer of an image generator, in two ways."""

# SPDX-License-Identifier: Apache-2.0
"""Quantizes a classifier of Fashion-MNIST to 4 bits and tunes the loss of accuracy away."""

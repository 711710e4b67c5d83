# SPDX-License-Identifier: Apache-2.0
"""The command that optimum's command line is extended by; `optimum-cli quanto` reads it."""

# SPDX-License-Identifier: Apache-2.0
"""The quantizers of transformers and diffusers, registered once these libraries are imported.

`import quanto` imports neither of them. Their entries named "quanto" are replaced only while they
are the stock ones; `QuantoConfig` of either library keeps working.
"""

from .hooks import register_integrations

__all__ = ["register_integrations"]

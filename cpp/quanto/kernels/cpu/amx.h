// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace quanto::kernels {

/// Whether the CPU multiplies bfloat16 in tile registers, the system saves
/// them, and this process got its permission to use them, which it asks for.
/// False on another architecture.
bool may_use_amx_bf16();

/// Whether it multiplies int8 there too.
bool has_amx_int8();

}  // namespace quanto::kernels

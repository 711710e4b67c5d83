// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace quanto::kernels {

/// Whether the CPU has what the tables "avx512" and "avx512_bf16" need beyond
/// AVX2, and the system saves the registers. False on another architecture.
bool has_avx512();
bool has_avx512_bf16();

}  // namespace quanto::kernels

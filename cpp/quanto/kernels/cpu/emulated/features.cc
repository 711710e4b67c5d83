// SPDX-License-Identifier: Apache-2.0
#include "quanto/kernels/cpu/amx.h"
#include "quanto/kernels/cpu/avx512.h"

// Linked into a test in place of what asks the CPU: emulated kernels run
// wherever AVX2 does.

namespace quanto::kernels {

bool has_avx512() { return true; }
bool has_avx512_bf16() { return true; }
bool may_use_amx_bf16() { return true; }
bool has_amx_int8() { return true; }

}  // namespace quanto::kernels

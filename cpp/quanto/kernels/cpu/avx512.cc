// SPDX-License-Identifier: Apache-2.0
#include "quanto/kernels/cpu/avx512.h"

namespace quanto::kernels {

#if defined(__x86_64__)

// These builtins also ask whether the system saves the wide registers.
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") &&
         __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni");
}

bool has_avx512_bf16() {
  return has_avx512() && __builtin_cpu_supports("avx512bf16");
}

#else

bool has_avx512() { return false; }
bool has_avx512_bf16() { return false; }

#endif

}  // namespace quanto::kernels

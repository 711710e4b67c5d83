// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string_view>

#include "quanto/kernels/kernels.h"

namespace quanto::kernels {

/// Tables that this build carries and this CPU can run, best first; the last
/// is ref. Names: amx_bf16, avx512_bf16, avx512, avx_vnni, avx2, ref; on
/// aarch64 neon_i8mm, neon_dotprod, neon, ref. Asking for them asks the system
/// once for the permission to use tile registers.
std::span<const KernelTable* const> available_kernels();

/// The table of that name among available_kernels(). Throws
/// std::invalid_argument that names the choices when it is not there.
const KernelTable& kernels_for(std::string_view isa);

/// The table in use: the best one, or the one QUANTO_FORCE_ISA names (read
/// once, at the first call; an unavailable name throws at every call).
const KernelTable& kernels();

}  // namespace quanto::kernels

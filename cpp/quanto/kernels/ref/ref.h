// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/kernels.h"

namespace quanto::kernels {

/// Plain loops, accumulating in double: the oracle of every other kernel and
/// the fallback where no other exists. isa == "ref".
const KernelTable& ref_kernels();

}  // namespace quanto::kernels

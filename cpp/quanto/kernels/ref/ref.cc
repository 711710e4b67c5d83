// SPDX-License-Identifier: Apache-2.0
#include "quanto/kernels/ref/ref.h"

#include "quanto/kernels/ref/functions.h"

namespace quanto::kernels {
namespace {

constexpr LinearVariant kLinear = {
    .name = "ref",
    .supports = [](const LinearProblem&) { return true; },
    .run = ref::linear,
};

constexpr KernelTable kTable = {
    .isa = "ref",
    .absmax = ref::absmax,
    .min_max = ref::min_max,
    .quantize_symmetric = ref::quantize_symmetric,
    .quantize_rows = ref::quantize_rows,
    .dequantize_symmetric = ref::dequantize_symmetric,
    .quantize_affine = ref::quantize_affine,
    .dequantize_affine = ref::dequantize_affine,
    .pack = ref::pack,
    .unpack = ref::unpack,
    .conv = ref::conv,
    .conv_tiles = nullptr,
    .linear = &kLinear,
    .linear_count = 1,
};

}  // namespace

const KernelTable& ref_kernels() { return kTable; }

}  // namespace quanto::kernels

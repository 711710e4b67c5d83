// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <immintrin.h>

// Included before everything else in a kernel source that is compiled for AVX2
// though written for AVX-512. The functions here stand in the namespace of the
// kernels, so that a name there finds them and not the intrinsic, which this
// compilation could not call: what is missing here does not compile. Each does
// what Intel's manual says of its instruction; intrinsics_test.cc holds them
// against the CPU where it has them. Those of 128 and 256 bits that belong to
// AVX2, FMA and F16C stay what they are.

// Compilers may spell what takes a constant as a macro.
#undef _mm512_cmp_ps_mask
#undef _mm512_cmpeq_epi16_mask
#undef _mm512_cmpeq_epi8_mask
#undef _mm512_cmpge_epu16_mask
#undef _mm512_cmplt_epu16_mask
#undef _mm512_cvtps_ph
#undef _mm512_extractf32x8_ps
#undef _mm512_extracti64x4_epi64
#undef _mm512_inserti64x4
#undef _mm512_roundscale_ps
#undef _mm512_shuffle_i32x4
#undef _tile_dpbf16ps
#undef _tile_dpbssd
#undef _tile_loadd
#undef _tile_stored
#undef _tile_stream_loadd
#undef _tile_zero

#include "quanto/kernels/cpu/emulated/bf16.h"
#include "quanto/kernels/cpu/emulated/floats.h"
#include "quanto/kernels/cpu/emulated/integers.h"
#include "quanto/kernels/cpu/emulated/memory.h"
#include "quanto/kernels/cpu/emulated/shuffles.h"
#include "quanto/kernels/cpu/emulated/tiles.h"

// SPDX-License-Identifier: Apache-2.0
#include "quanto/kernels/cpu/linear_gemv_fixed16.h"
#include "quanto/kernels/cpu/linear_gemv_int8.h"
#include "quanto/kernels/cpu/linear_gemv_run.h"
#include "quanto/kernels/cpu/linear_panel.h"
#include "quanto/kernels/cpu/linear_panel_int8.h"
#include "quanto/kernels/cpu/tables.h"
#ifdef QUANTO_ISA_AVX512_BF16
#include "quanto/kernels/cpu/linear_gemv_bf16.h"
#include "quanto/kernels/cpu/linear_panel_bf16.h"
#endif

// The ways this instruction set has to run a linear problem, best first.

namespace quanto::kernels {
namespace {

constexpr LinearVariant kGemv = {"gemv", gemv_supports, gemv_run};
constexpr LinearVariant kGemvInt8 = {"gemv_int8", gemv_int8_supports,
                                     gemv_int8_run};
constexpr LinearVariant kGemvFixed16 = {"gemv_fixed16", gemv_fixed16_supports,
                                        gemv_fixed16_run};
constexpr LinearVariant kPanel = {"panel", panel_supports, panel_run};

#ifdef QUANTO_HAS_VNNI
constexpr LinearVariant kPanelInt8 = {"panel_vnni", panel_int8_supports,
                                      panel_int8_run};
#else
constexpr LinearVariant kPanelInt8 = {"panel_int8", panel_int8_supports,
                                      panel_int8_run};
#endif

template <int kCount>
constexpr LinearTable table_of(const LinearVariant (&variants)[kCount]) {
  return {variants, kCount};
}

}  // namespace

#if defined(QUANTO_ISA_AVX512_BF16)

namespace {

constexpr LinearVariant kGemvBf16 = {"gemv_bf16", gemv_bf16_supports,
                                     gemv_bf16_run};
constexpr LinearVariant kPanelBf16 = {"panel_bf16", panel_bf16_supports,
                                      panel_bf16_run};
constexpr LinearVariant kPanelBf16Dense = {
    "panel_bf16_dense", panel_bf16_dense_supports, panel_bf16_dense_run};
constexpr LinearVariant kPairsFirst[] = {
    kGemvInt8,  kGemvBf16,       kGemvFixed16, kGemv,
    kPanelInt8, kPanelBf16Dense, kPanelBf16,   kPanel};
constexpr LinearVariant kFloatFirst[] = {
    kGemvInt8, kGemvFixed16, kGemv,           kPanelInt8,
    kPanel,    kGemvBf16,    kPanelBf16Dense, kPanelBf16};

}  // namespace

/// A product of bfloat16 pairs is twice an fp32 multiply-add on AMD (443 to 229
/// GFLOP/s on Zen 4) and about half of one on Intel's servers (72 to 130 in the
/// panel on Emerald Rapids), where tiles are meant for it.
LinearTable linear_avx512_bf16() {
  return __builtin_cpu_is("amd") ? table_of(kPairsFirst)
                                 : table_of(kFloatFirst);
}

#else

namespace {
constexpr LinearVariant kVariants[] = {kGemvInt8, kGemvFixed16, kGemv,
                                       kPanelInt8, kPanel};
}

LinearTable QUANTO_FOR_ISA(linear)() { return table_of(kVariants); }

#endif

}  // namespace quanto::kernels

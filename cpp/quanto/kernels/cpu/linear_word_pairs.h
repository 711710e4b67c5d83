// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_float8_pairs.h"
#include "quanto/kernels/cpu/linear_pairs.h"
#include "quanto/kernels/cpu/linear_word_decode.h"

// What panels of bfloat16 pairs hold.

namespace quanto::kernels {
namespace {

/// Numbers in the order in which they are read to pairs.
inline __m512i to_pairs(__m512i numbers) {
  const __m512i order = _mm512_set_epi16(31, 29, 30, 28, 27, 25, 26, 24, 23, 21,
                                         22, 20, 19, 17, 18, 16, 15, 13, 14, 12,
                                         11, 9, 10, 8, 7, 5, 6, 4, 3, 1, 2, 0);
  return _mm512_permutexvar_epi16(order, numbers);
}

/// bfloat16 pairs.
struct PairWords {
  static constexpr int64_t kWordK = 2;

  /// Four k of kLanes columns to two rows of words.
  template <QTypeId kType>
  static void decode(IVec bytes, IVec shift, IVec* out) {
    if constexpr (bits_of(kType) < 8) {
      const __m512i table =
          _mm512_load_si512(kCodeTable<bits_of(kType)>.values);
      const IVec even = shift_right_each(bytes, shift);
      out[0].v = _mm512_permutexvar_epi16(even.v, table);
      out[1].v = _mm512_permutexvar_epi16(shift_right(even, 8).v, table);
    } else if constexpr (kType != QTypeId::kQInt8) {
      constexpr DType kStorage = qtype(kType).storage;
      out[0].v = float8_as_bf16<kStorage>(bytes.v);
      out[1].v = float8_as_bf16<kStorage>(_mm512_srli_epi16(bytes.v, 8));
    } else {
      const auto pair = [](Vec low, Vec high) {
        return ior(shift_right(as_int(low), 16),
                   iand(as_int(high), ibroadcast(0xffff0000)));
      };
      out[0] = pair(panel_codes<kType, 0>(bytes, shift),
                    panel_codes<kType, 2>(bytes, shift));
      out[1] = pair(panel_codes<kType, 1>(bytes, shift),
                    panel_codes<kType, 3>(bytes, shift));
    }
  }
};

#if defined(QUANTO_ISA_AVX512_BF16) || defined(QUANTO_ISA_AMX_BF16)
/// Weights, not codes, as bfloat16 pairs: scale and shift are applied in fp32,
/// then each weight is rounded once.
struct WeightPairWords {
  static constexpr int64_t kWordK = 2;

  template <QTypeId kType>
  static void decode(IVec bytes, IVec shift, const PanelLanes& lanes,
                     IVec* out) {
    const IVec codes = shift_right_each(bytes, shift);
    out[0] =
        pair(weight<kType, 0>(codes, lanes), weight<kType, 2>(codes, lanes));
    out[1] =
        pair(weight<kType, 1>(codes, lanes), weight<kType, 3>(codes, lanes));
  }

 private:
  template <QTypeId kType, int kByte>
  static Vec weight(IVec codes, const PanelLanes& lanes) {
    constexpr int kCode = (1 << bits_of(kType)) - 1;
    const Vec code =
        to_float(iand(shift_right(codes, 8 * kByte), ibroadcast(kCode)));
    return fms(lanes.scale, code, lanes.shift);
  }

  /// The instruction takes subnormal numbers for 0, as the products do.
  static IVec pair(Vec low, Vec high) {
    const __m512i order = _mm512_set_epi16(
        31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22,
        6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const auto both =
        reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high.v, low.v));
    return {_mm512_permutexvar_epi16(order, both)};
  }
};
#endif

}  // namespace
}  // namespace quanto::kernels

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_dot_tiles.h"

// Dot products of packed weights with a few rows of activations. Scales are
// applied to the sums of groups, shifts to those of the activations: y += scale
// * sum(q * x) - shift * sum(x).
//
// `Products` is how codes are multiplied:
//   kBits              of a code
//   kHasUnits          whether its input's codes are in units
//   kCells             of a vector of a row of activations (linear_dot_tiles.h)
//   Weights            weights(bytes, plane) of a vector of bytes
//   Sum                none(), value(sum) as kLanes partial sums
//   add<kM>(sum, w, x) sum + the products of a few vectors with a row of a tile
//                      of kM rows
//   unit(plane)        what sums are in units of

namespace quanto::kernels {
namespace {

/// kRows rows of bytes, k apart, that hold 8 / kBits outputs each. kGroup is
/// the size of a group, kHalfGroup or a multiple of kVecBytes, or 0 for that of
/// the scales. sums: as dot_planes.
template <typename Products, int kGroup, int kRows, int kM>
QUANTO_NOINLINE void dot_packed(const uint8_t* data, int64_t k,
                                const UnitScales& scales, int64_t first_row,
                                const DotInput& input, int64_t first_m,
                                float* sums) {
  using Weights = typename Products::Weights;
  using Sum = typename Products::Sum;
  constexpr int kPlanes = 8 / Products::kBits;
  constexpr int kRowBytes = Products::kCells * kVecBytes;
  constexpr bool kHalf = kGroup != 0 && kGroup == kHalfGroup;
  constexpr int kGroups = kHalf ? 2 : 1;
  constexpr int kVectors = kHalf ? 1 : kGroup / kVecBytes;
  const int8_t* x = input.x + first_m * input.row_bytes;
  const int64_t size = kGroup != 0 ? kGroup : scales.group_size;
  const int64_t vectors = kGroup != 0 ? kVectors : ceil_div(size, kVecBytes);
  const int64_t factor_stride = Products::kHasUnits ? scales.factor_stride : 0;
  const float* factors = scales.factor + first_m * factor_stride;
  Vec total[kM][kPlanes][kRows];
  unrolled<kM, kPlanes, kRows>(
      [&](int m, int j, int r) QUANTO_INLINE_BODY { total[m][j][r] = zero(); });
  for (int64_t group = 0; group < scales.groups; group += kGroups) {
    const int64_t i = group * size;
    scales.ahead->ask<kPlanes, kGroups * kRows>();
    prefetch_rows<kRows>(data, k, i, kGroups * size);
    const float* factor = factors + scales.place<kPlanes>(group, first_row);
    unrolled<kRows>([&](int r) QUANTO_INLINE_BODY {
      const uint8_t* bytes = data + r * k + i;
      const auto add = [&](int m, int j, Sum sum) QUANTO_INLINE_BODY {
        const Vec scale = group_scales<kGroups>(factor + m * factor_stride +
                                                j * scales.kPlaneStride +
                                                r * scales.kRowStride);
        total[m][j][r] = fma(Products::value(sum), scale, total[m][j][r]);
      };
      if constexpr (kGroup != 0) {
        IVec codes[kVectors];
        unrolled<kVectors>([&](int v) QUANTO_INLINE_BODY {
          codes[v] = kHalf && i + kVecBytes > k
                         ? load_words_tail(bytes, kGroup)
                         : load_words(bytes + v * kVecBytes);
        });
        unrolled<kPlanes>([&](int j) QUANTO_INLINE_BODY {
          Weights w[kVectors];
          unrolled<kVectors>([&](int v) QUANTO_INLINE_BODY {
            w[v] = Products::weights(codes[v], j);
          });
          unrolled<kM>([&](int m) QUANTO_INLINE_BODY {
            add(m, j,
                Products::template add<kM>(Products::none(), w,
                                           x + m * kRowBytes));
          });
        });
      } else {
        Sum acc[kM][kPlanes];
        unrolled<kM, kPlanes>([&](int m, int j) QUANTO_INLINE_BODY {
          acc[m][j] = Products::none();
        });
        const int8_t* xs = x;
        for (int64_t at = 0; at < size; at += kVecBytes) {
          const IVec codes = at + kVecBytes <= size
                                 ? load_words(bytes + at)
                                 : load_words_tail(bytes + at, size - at);
          unrolled<kPlanes>([&](int j) QUANTO_INLINE_BODY {
            const Weights w[] = {Products::weights(codes, j)};
            unrolled<kM>([&](int m) QUANTO_INLINE_BODY {
              acc[m][j] =
                  Products::template add<kM>(acc[m][j], w, xs + m * kRowBytes);
            });
          });
          xs += kM * kRowBytes;
        }
        unrolled<kM, kPlanes>([&](int m, int j)
                                  QUANTO_INLINE_BODY { add(m, j, acc[m][j]); });
      }
    });
    x += vectors * kM * kRowBytes;
  }
  unrolled<kM, kPlanes>([&](int m, int j) QUANTO_INLINE_BODY {
    const Vec unit = broadcast(Products::unit(j));
    unrolled<kRows>([&](int r) QUANTO_INLINE_BODY {
      total[m][j][r] =
          fms(total[m][j][r], unit,
              shift_sum(scales, j, first_row + r,
                        input.sums + (first_m + m) * input.padded_groups));
    });
    reduce_all(total[m][j], sums + (m * kPlanes + j) * kUnitRows);
  });
}

/// Dots of linear_gemv_run.h by Products, of at most kMostM rows at once.
template <typename Products, int kMostM = gemv_m(8 / Products::kBits)>
struct PackedDots {
  static constexpr int kPlanes = 8 / Products::kBits;
  static constexpr bool kHasUnits = Products::kHasUnits;
  static constexpr int kM = kMostM;
  static constexpr int rows(int m) { return gemv_rows(kPlanes, m); }

  template <int kRows, int kCount>
  void dot(const uint8_t* data, int64_t k, const UnitScales& scales,
           int64_t row, int64_t m0, float* sums) const {
    const auto dot_groups = [&](auto size) {
      dot_packed<Products, decltype(size)::value, kRows, kCount>(
          data, k, scales, row, input, m0, sums);
    };
    switch (scales.group_size) {
      case 32:
        return dot_groups(Constant<32>{});
      case 64:
        return dot_groups(Constant<64>{});
      case 128:
        return dot_groups(Constant<128>{});
      default:
        return dot_groups(Constant<0>{});
    }
  }

  DotInput input;
};

/// Groups of a multiple of it are read in whole vectors, or halves of them.
constexpr int64_t kDotGroup = 32;

}  // namespace
}  // namespace quanto::kernels

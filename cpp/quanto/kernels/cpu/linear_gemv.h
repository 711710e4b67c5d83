// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_decode.h"
#include "quanto/kernels/cpu/linear_gemv_ahead.h"

// Dot products of a few weight rows with a few rows of activations, held
// in registers: the weights are read once, decoded, and used. Each function
// leaves sums[activation row][plane][weight row] with a stride of kUnitRows
// floats between planes.

namespace quanto::kernels {
namespace {

/// kRows rows of 8-bit codes, k apart. Scale and unit are left to the caller.
template <DType kStorage, int kRows, int kM>
QUANTO_NOINLINE void dot_bytes(const uint8_t* data, int64_t k, const float* x,
                               float* sums) {
  using Watch = NanWatch<kStorage>;
  Watch watch[kRows];
  Vec acc[kM][kRows];
  QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
    QUANTO_UNROLL for (int r = 0; r < kRows; ++r) acc[m][r] = zero();
  }
  const auto multiply = [&](int64_t i, auto load_codes, auto load_x) {
    Vec xs[kM];
    QUANTO_UNROLL for (int m = 0; m < kM; ++m) xs[m] = load_x(x + m * k + i);
    QUANTO_UNROLL for (int r = 0; r < kRows; ++r) {
      const Vec w = decode_bytes<kStorage>(load_codes(data + r * k + i));
      QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
        acc[m][r] = fma(w, xs[m], acc[m][r]);
      }
    }
  };
  const auto multiply_full = [&](int64_t i) {
    multiply(
        i, [](const uint8_t* p) { return load_bytes(p); },
        [](const float* p) { return load(p); });
  };
  int64_t i = 0;
  for (; i + kVecBytes <= k; i += kVecBytes) {
    prefetch_rows<kRows>(data, k, i, kVecBytes);
    if constexpr (Watch::kNeeded) {
      QUANTO_UNROLL for (int r = 0; r < kRows; ++r) {
        watch[r].see(load_words(data + r * k + i));
      }
    }
    // A loop that moved i would be unrolled with the one around it, by 32.
    QUANTO_UNROLL for (int step = 0; step < kVecBytes; step += kLanes) {
      multiply_full(i + step);
    }
  }
  if constexpr (Watch::kNeeded) {
    if (i < k) {
      QUANTO_UNROLL for (int r = 0; r < kRows; ++r) {
        watch[r].see(load_words_tail(data + r * k + i, k - i));
      }
    }
  }
  for (; i + kLanes <= k; i += kLanes) multiply_full(i);
  if (const int tail = static_cast<int>(k - i); tail != 0) {
    multiply(
        i, [=](const uint8_t* p) { return load_bytes_tail(p, tail); },
        [=](const float* p) { return load_tail(p, tail); });
  }
  QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
    reduce_all(acc[m], sums + m * kUnitRows);
  }
  if constexpr (Watch::kNeeded) {
    for (int r = 0; r < kRows; ++r) {
      if (!watch[r].seen()) continue;
      for (int m = 0; m < kM; ++m) {
        sums[m * kUnitRows + r] = __builtin_nanf("");
      }
    }
  }
}

/// Groups whose scales stand side by side.
constexpr int kGroupChunk = 16;

/// The scales and shifts of one unit's rows as fp32, in chunks of kGroupChunk
/// groups: [chunk][plane][row][group], 0 past the last group, so that all rows
/// of a chunk are at constant distances.
struct UnitScales {
  static constexpr int kRowStride = kGroupChunk;
  static constexpr int kPlaneStride = kUnitRows * kRowStride;

  float* scale;
  float* shift;
  /// Scales times the units of the activations' codes, `factor_stride` apart
  /// for each row of activations; the scales themselves where those are 1.
  float* factor;
  int64_t factor_stride;
  int64_t planes;
  int64_t groups;
  int64_t group_size;
  bool integer;
  ScalesAhead* ahead;  ///< those of the next unit; null: not asked for

  /// Where row `row` of the first plane of the chunk of `group` starts.
  [[nodiscard]] int64_t chunk(int64_t group, int64_t row) const {
    return group / kGroupChunk * planes * kPlaneStride + row * kRowStride;
  }
  /// Where a row's number of a group is, among kPlanes planes.
  template <int kPlanes>
  static int64_t place(int64_t group, int64_t row) {
    return group / kGroupChunk * (kPlanes * kPlaneStride) + row * kRowStride +
           group % kGroupChunk;
  }
};

/// The scales of the kGroups groups in the lanes of one vector of bytes.
template <int kGroups>
inline Vec group_scales(const float* scale) {
  static_assert(kGroups == 1);
  return broadcast(scale[0]);
}

#ifdef QUANTO_HAS_AVX512
/// The size of groups of which a vector of bytes holds two.
constexpr int64_t kHalfGroup = kVecBytes / 2;

template <>
inline Vec group_scales<2>(const float* scale) {
  return broadcast_halves(scale[0], scale[1]);
}
#else
constexpr int64_t kHalfGroup = 0;  // none
#endif

/// kRows rows of bytes, k apart, that hold 8 / kBits outputs each.
template <int kBits, int kRows, int kM>
QUANTO_NOINLINE void dot_planes(const uint8_t* data, int64_t k,
                                const UnitScales& scales, int64_t first_row,
                                const float* x, float* sums) {
  constexpr int kPlanes = 8 / kBits;
  Vec acc[kM][kPlanes][kRows];
  QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
    QUANTO_UNROLL for (int j = 0; j < kPlanes; ++j) {
      QUANTO_UNROLL for (int r = 0; r < kRows; ++r) acc[m][j][r] = zero();
    }
  }
  int64_t i = 0;
  for (int64_t group = 0; group < scales.groups; ++group) {
    scales.ahead->ask<kPlanes, kRows>();
    prefetch_rows<kRows>(data, k, i, scales.group_size);
    const int64_t at = scales.place<kPlanes>(group, first_row);
    GroupDecoder<kBits> decode[kPlanes][kRows];
    QUANTO_UNROLL for (int j = 0; j < kPlanes; ++j) {
      QUANTO_UNROLL for (int r = 0; r < kRows; ++r) {
        const int offset = j * scales.kPlaneStride + r * scales.kRowStride;
        decode[j][r] = {scales.scale[at + offset], scales.shift[at + offset],
                        scales.integer};
      }
    }
    const auto step = [&](auto load_codes, auto load_x) {
      Vec xs[kM];
      QUANTO_UNROLL for (int m = 0; m < kM; ++m) xs[m] = load_x(x + m * k + i);
      QUANTO_UNROLL for (int r = 0; r < kRows; ++r) {
        const IVec codes = load_codes(data + r * k + i);
        QUANTO_UNROLL for (int j = 0; j < kPlanes; ++j) {
          const Vec w = decode[j][r](shift_right(codes, j * kBits));
          QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
            acc[m][j][r] = fma(w, xs[m], acc[m][j][r]);
          }
        }
      }
    };
    const int64_t end = i + scales.group_size;
    for (; i + kLanes <= end; i += kLanes) {
      step([](const uint8_t* p) { return load_u8(p); },
           [](const float* p) { return load(p); });
    }
    if (const int tail = static_cast<int>(end - i); tail != 0) {
      step([=](const uint8_t* p) { return load_u8_tail(p, tail); },
           [=](const float* p) { return load_tail(p, tail); });
      i = end;
    }
  }
  QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
    QUANTO_UNROLL for (int j = 0; j < kPlanes; ++j) {
      reduce_all(acc[m][j], sums + (m * kPlanes + j) * kUnitRows);
    }
  }
}

/// One output whose group rows lie wherever the packing put them: the planes
/// split inside a row when the outputs are not a multiple of 8 / kBits. Every
/// byte is then read once for each of its codes.
template <int kBits, int kM>
QUANTO_NOINLINE void dot_group_rows(const uint8_t* data, int64_t group_row,
                                    int64_t packed_rows, int64_t k,
                                    const UnitScales& scales, int64_t row,
                                    const float* x, float* sums) {
  Vec acc[kM];
  QUANTO_UNROLL for (int m = 0; m < kM; ++m) acc[m] = zero();
  for (int64_t group = 0; group < scales.groups; ++group, ++group_row) {
    const int shift = static_cast<int>(group_row / packed_rows) * kBits;
    const uint8_t* codes = data + group_row % packed_rows * scales.group_size;
    const int64_t at = scales.place<1>(group, row);
    const GroupDecoder<kBits> decode = {scales.scale[at], scales.shift[at],
                                        scales.integer};
    const float* xs = x + group * scales.group_size;
    for (int64_t i = 0; i < scales.group_size; i += kLanes) {
      const int part = static_cast<int>(smaller(kLanes, scales.group_size - i));
      const Vec w = decode(shift_right(load_u8_tail(codes + i, part), shift));
      QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
        acc[m] = fma(w, load_tail(xs + m * k + i, part), acc[m]);
      }
    }
  }
  QUANTO_UNROLL for (int m = 0; m < kM; ++m) {
    sums[m * kUnitRows] = reduce_add(acc[m]);
  }
}

}  // namespace
}  // namespace quanto::kernels

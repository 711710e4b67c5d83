// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_gemv_scales.h"

// One row of activations by packed codes, words of four bytes in each lane:
// codes become numbers one byte of the words after the other, without being
// spread out first, and scales are applied to the sums of groups: y += scale *
// sum(q * x) - shift * sum(x). For more rows it pays to make weights of codes.

namespace quanto::kernels {
namespace {

/// Bytes of a lane: as many k.
constexpr int kWordBytes = 4;

#ifdef QUANTO_HAS_AVX512

/// A vector of bytes. Codes are shifted to the lowest place and looked up,
/// which does not see the bits above them.
template <int kBits>
struct Fields {
  static constexpr float kByteUnit = 1;
  static constexpr float unit(int /*j*/) { return 1; }

  struct Table {
    Vec codes =
        to_float(iand(to_int(lane_numbers()), ibroadcast((1 << kBits) - 1)));
  };

  [[nodiscard]] Vec number(const Table& table, int j, int b) const {
    return look_up(table.codes, shift_right(words, 8 * b + j * kBits));
  }

  IVec words;
};

#else

/// A vector of bytes. Codes are masked where they stand, so they are multiples
/// of 256^b in byte b, and of 1 / unit(j) in plane j. The last plane is shifted
/// to the first: its topmost bit would be a sign.
template <int kBits>
struct Fields {
  static constexpr float kByteUnit = 256;
  static constexpr int kLast = 8 / kBits - 1;
  static constexpr int place(int j) { return j == kLast ? 0 : j * kBits; }
  static constexpr float unit(int j) {
    return 1.0F / static_cast<float>(1 << place(j));
  }

  struct Table {};

  [[nodiscard]] Vec number(const Table& /*table*/, int j, int b) const {
    const int mask = ((1 << kBits) - 1) << (8 * b + place(j));
    const IVec from = j == kLast ? shift_right(words, j * kBits) : words;
    return to_float(iand(from, ibroadcast(mask)));
  }

  IVec words;
};

#endif

/// One row of activations in the order of words: [groups][vectors of a
/// group][byte][kLanes], 0 past the end of a group, those of byte b in units of
/// Fields::kByteUnit^b. Groups of kHalfGroup share their vectors.
struct FieldInput {
  const float* x;
  const float* sums;  ///< of the groups, 0 past the last of a chunk
};

/// kRows rows of bytes, k apart, that hold 8 / kBits outputs each, kGroups
/// groups at once. Leaves sums[plane][row], kUnitRows floats apart.
template <int kBits, int kGroups, int kRows>
QUANTO_NOINLINE void dot_fields(const uint8_t* data, int64_t k,
                                const UnitScales& scales, int64_t first_row,
                                const FieldInput& input, float* sums) {
  constexpr int kPlanes = 8 / kBits;
  using Codes = Fields<kBits>;
  const typename Codes::Table table;
  Vec total[kPlanes][kRows];
  QUANTO_UNROLL for (int j = 0; j < kPlanes; ++j) {
    QUANTO_UNROLL for (int r = 0; r < kRows; ++r) total[j][r] = zero();
  }
  const float* x = input.x;
  int64_t i = 0;
  for (int64_t group = 0; group < scales.groups; group += kGroups) {
    const int64_t size = kGroups * scales.group_size;
    scales.ahead->ask<kPlanes, kGroups * kRows>();
    prefetch_rows<kRows>(data, k, i, size);
    Vec acc[kPlanes][kRows];
    QUANTO_UNROLL for (int j = 0; j < kPlanes; ++j) {
      QUANTO_UNROLL for (int r = 0; r < kRows; ++r) acc[j][r] = zero();
    }
    const auto step = [&](auto load_codes) {
      QUANTO_UNROLL for (int r = 0; r < kRows; ++r) {
        const Codes codes = {load_codes(data + r * k + i)};
        QUANTO_UNROLL for (int b = 0; b < kWordBytes; ++b) {
          const Vec xs = load(x + b * kLanes);
          QUANTO_UNROLL for (int j = 0; j < kPlanes; ++j) {
            acc[j][r] = fma(codes.number(table, j, b), xs, acc[j][r]);
          }
        }
      }
      x += kVecBytes;
    };
    const int64_t end = kGroups == 1 ? i + size : smaller(i + size, k);
    for (; i + kVecBytes <= end; i += kVecBytes) {
      step([](const uint8_t* p) { return load_words(p); });
    }
    if (const int64_t tail = end - i; tail != 0) {
      step([=](const uint8_t* p) { return load_words_tail(p, tail); });
      i = end;
    }
    const float* scale = scales.scale + scales.place<kPlanes>(group, first_row);
    QUANTO_UNROLL for (int j = 0; j < kPlanes; ++j) {
      QUANTO_UNROLL for (int r = 0; r < kRows; ++r) {
        const Vec s = group_scales<kGroups>(scale + j * scales.kPlaneStride +
                                            r * scales.kRowStride);
        total[j][r] = fma(acc[j][r], s, total[j][r]);
      }
    }
  }
  QUANTO_UNROLL for (int j = 0; j < kPlanes; ++j) {
    const Vec unit = broadcast(Codes::unit(j));
    QUANTO_UNROLL for (int r = 0; r < kRows; ++r) {
      total[j][r] = fms(total[j][r], unit,
                        shift_sum(scales, j, first_row + r, input.sums));
    }
    reduce_all(total[j], sums + j * kUnitRows);
  }
}

/// Whether all of `count` elements are finite, and the largest is 0 or far from
/// the ends of fp32.
template <typename Load>
inline bool fits_fields(Load load_at, int64_t count) {
  constexpr float kMost = power_of_two(kMostExponent);
  float most;
  return find_largest(load_at, 0, count, &most) &&
         (most == 0.0F || (most >= 1 / kMost && most <= kMost));
}

/// kVecBytes elements in the order of words.
template <int kBits>
inline void store_field_input(const float* from, float* to) {
  float unit = 1;
  for (int b = 0; b < kWordBytes; ++b, unit /= Fields<kBits>::kByteUnit) {
    for (int i = 0; i < kLanes; ++i) {
      to[b * kLanes + i] = from[kWordBytes * i + b] * unit;
    }
  }
}

/// The one row of the call, in the workspace. Returns false where it is out of
/// range.
template <int kBits>
inline bool field_input(const LinearProblem& problem, const LinearArgs& args,
                        Executor& executor, FieldInput* input) {
  const int64_t size = problem.group_size;
  const int64_t groups = problem.k / size;
  const int64_t span = size == kHalfGroup ? kVecBytes : size;
  const int64_t count = ceil_div(problem.k, span) * round_up(span, kVecBytes);
  const int64_t padded_groups = round_up(groups, kGroupChunk);
  auto* x = reinterpret_cast<float*>(executor.workspace(
      static_cast<size_t>(count + padded_groups) * sizeof(float)));
  float* sums = x + count;
  *input = {x, sums};
  bool fits = true;
  with_input_loader(problem, args, [&](auto load_at) {
    fits = fits_fields(load_at, problem.k);
    if (!fits) return;
    for (int64_t at = 0; at < problem.k; at += span) {
      const int64_t end = smaller(at + span, problem.k);
      for (int64_t i = at; i < end; i += kVecBytes, x += kVecBytes) {
        alignas(64) float part[kVecBytes] = {};
        load_run(load_at, i, smaller(kVecBytes, end - i), part);
        store_field_input<kBits>(part, x);
      }
    }
  });
  if (fits) sum_groups(problem, args, padded_groups, sums);
  return fits;
}

}  // namespace
}  // namespace quanto::kernels

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/conv_planes.h"

// Sums of one channel's shifted rows: a vector of an input row is loaded once
// for each column of the kernel and added to all the output rows that it
// reaches, whose sums stay in registers until their last row.

namespace quanto::kernels {
namespace {

/// Vectors of a row at once for a kernel of `rows` rows.
constexpr int row_vectors(int rows) {
#ifdef QUANTO_HAS_AVX512
  return rows == 7 ? 3 : 4;
#else
  return rows == 7 ? 1 : rows == 5 ? 2 : 3;
#endif
}

/// What the sums of a row's vectors take.
struct RowRun {
  const float* input;  ///< the first row
  int64_t pitch;
  const int64_t* offsets;  ///< of the kernel's columns
  int64_t columns;
  const float* taps;
  int64_t rows;  ///< of the output, no fewer than the kernel's less one
  float* sums;
  int64_t sums_pitch;
};

/// The sums of as many output rows as the kernel has; rows[y] is the one that
/// the current input row is row y of the kernel for.
template <int kRows, int kVectors>
class RowSums {
 public:
  explicit RowSums(const RowRun& run) : run_(run) {}

  void sum() {
    head<0>();
    for (int64_t i = kRows - 1; i < run_.rows; ++i) {
      add_row<0, kRows - 1>();
      finish_row();
    }
    tail<1>();
  }

 private:
  /// Input rows above the last row of the first window.
  template <int kLast>
  void head() {
    if constexpr (kLast < kRows - 1) {
      add_row<0, kLast>();
      next_row();
      head<kLast + 1>();
    }
  }

  /// Input rows below the first row of the last window.
  template <int kFirst>
  void tail() {
    if constexpr (kFirst < kRows) {
      add_row<kFirst, kRows - 1>();
      finish_row();
      tail<kFirst + 1>();
    }
  }

  /// The current input row, as rows [kFirst, kLast] of the kernel.
  template <int kFirst, int kLast>
  void add_row() {
    if constexpr (kFirst == 0) {
      QUANTO_UNROLL for (int v = 0; v < kVectors; ++v) rows_[0][v] = zero();
    }
    for (int64_t x = 0; x < run_.columns; ++x) {
      const float* at = input_ + run_.offsets[x];
      Vec value[kVectors];
      QUANTO_UNROLL for (int v = 0; v < kVectors; ++v) {
        value[v] = load(at + v * kLanes);
      }
      QUANTO_UNROLL for (int y = kFirst; y <= kLast; ++y) {
        const Vec tap = broadcast(run_.taps[y * run_.columns + x]);
        QUANTO_UNROLL for (int v = 0; v < kVectors; ++v) {
          rows_[y][v] = fma(value[v], tap, rows_[y][v]);
        }
      }
    }
  }

  void finish_row() {
    QUANTO_UNROLL for (int v = 0; v < kVectors; ++v) {
      store(sums_ + v * kLanes, rows_[kRows - 1][v]);
    }
    sums_ += run_.sums_pitch;
    next_row();
  }

  void next_row() {
    input_ += run_.pitch;
    QUANTO_UNROLL for (int y = kRows - 1; y > 0; --y) {
      QUANTO_UNROLL for (int v = 0; v < kVectors; ++v) {
        rows_[y][v] = rows_[y - 1][v];
      }
    }
  }

  const RowRun& run_;
  const float* input_ = run_.input;
  float* sums_ = run_.sums;
  Vec rows_[kRows][kVectors];
};

template <int kRows, int kVectors>
[[gnu::flatten]] QUANTO_NOINLINE void sum_row_run(const RowRun& run) {
  RowSums<kRows, kVectors>(run).sum();
}

/// sum_row_run for `vectors` of 1 to row_vectors(kRows).
template <int kRows, int kVectors = row_vectors(kRows)>
inline void sum_row_vectors(const RowRun& run, int64_t vectors) {
  if constexpr (kVectors > 1) {
    if (vectors < kVectors) {
      return sum_row_vectors<kRows, kVectors - 1>(run, vectors);
    }
  }
  sum_row_run<kRows, kVectors>(run);
}

template <int kRows>
inline void sum_rows_of(RowRun run, int64_t vectors) {
  for (int64_t runs = ceil_div(vectors, row_vectors(kRows)); runs > 0; --runs) {
    const int64_t length = ceil_div(vectors, runs);
    sum_row_vectors<kRows>(run, length);
    run.input += length * kLanes;
    run.sums += length * kLanes;
    vectors -= length;
  }
}

inline int64_t row_sums_pitch(const ConvProblem& problem) {
  return round_up(problem.output.x, kLanes);
}

/// Whether sum_rows takes `rows` rows of a band and does better than sums of
/// shifted planes, which load a vector for each multiplication but have none
/// that are half empty.
inline bool rows_pay(const ConvProblem& problem, const BandPlan& plan,
                     int64_t rows) {
  const int64_t height = problem.kernel.y;
  return problem.channels == 1 && problem.outputs == 1 &&
         (height == 3 || height == 5 || height == 7) && problem.stride.y == 1 &&
         problem.dilation.y == 1 && rows >= height - 1 &&
         problem.output.x >= kLanes / 2 &&
         2 * rows * row_sums_pitch(problem) <= 3 * plan.sums(problem, rows);
}

/// The sums of `rows` output rows, row_sums_pitch() apart; `offsets` are those
/// of the kernel's first row.
inline void sum_rows(const ConvProblem& problem, const BandPlan& plan,
                     const float* planes, const int64_t* offsets,
                     const float* taps, int64_t rows, float* sums) {
  const int64_t pitch = row_sums_pitch(problem);
  const RowRun run = {planes, plan.pitch, offsets, problem.kernel.x,
                      taps,   rows,       sums,    pitch};
  switch (problem.kernel.y) {
    case 3:
      return sum_rows_of<3>(run, pitch / kLanes);
    case 5:
      return sum_rows_of<5>(run, pitch / kLanes);
    default:
      return sum_rows_of<7>(run, pitch / kLanes);
  }
}

}  // namespace
}  // namespace quanto::kernels

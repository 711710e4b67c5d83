// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/linear_gemv_scales.h"

// Activations as the dot products of linear_dot_int8.h and linear_dot_pairs.h
// take them.

namespace quanto::kernels {
namespace {

/// Rows of activations in tiles of some rows: [vector][row][cell][kVecBytes].
/// A vector is kVecBytes k, of which a group takes whole ones, with zeros past
/// its last k; two groups of kHalfGroup share one. What the cells of a vector
/// hold depends on the products.
struct DotInput {
  const int8_t* x;
  /// Of the groups: [rows][padded_groups], 0 past the last; null where nothing
  /// asks for them.
  const float* sums;
  const float* units;  ///< of the codes of groups, likewise; null: all 1
  int64_t row_bytes;   ///< what a row takes up
  int64_t padded_groups;
};

/// How they are written.
struct DotTiles {
  int64_t rows;
  int64_t tile_rows;  ///< at most
  int64_t cells;
  int64_t span;     ///< k of one group, or of those that share a vector
  int64_t vectors;  ///< of a span
  int64_t spans;

  [[nodiscard]] int64_t row_bytes() const {
    return spans * vectors * cells * kVecBytes;
  }
};

inline DotTiles dot_tiles(const LinearProblem& problem, int64_t tile_rows,
                          int64_t cells) {
  const int64_t span =
      problem.group_size == kHalfGroup ? kVecBytes : problem.group_size;
  return {problem.m,
          tile_rows,
          cells,
          span,
          ceil_div(span, kVecBytes),
          ceil_div(problem.k, span)};
}

/// The cells of a row: those of vector v from v * stride on.
struct DotRow {
  int8_t* cells;
  int64_t stride;

  DotRow(const DotTiles& tiles, int8_t* x, int64_t row) {
    const int64_t row_cells = tiles.cells * kVecBytes;
    const int64_t first = row / tiles.tile_rows * tiles.tile_rows;
    cells = x + first * tiles.row_bytes() + (row - first) * row_cells;
    stride = smaller(tiles.tile_rows, tiles.rows - first) * row_cells;
  }
};

/// The input of the call, in the workspace: store(row, k, count, cells) writes
/// the cells of `count` <= kVecBytes k. The sums of groups are for `with_sums`.
template <typename Store>
DotInput dot_input(const LinearProblem& problem, const LinearArgs& args,
                   const DotTiles& tiles, bool with_sums, Executor& executor,
                   Store store) {
  const int64_t bytes = problem.m * tiles.row_bytes();
  const int64_t padded_groups =
      round_up(problem.k / problem.group_size, kGroupChunk);
  auto* room = executor.workspace(
      static_cast<size_t>(bytes) +
      static_cast<size_t>(problem.m * padded_groups) * sizeof(float));
  auto* x = reinterpret_cast<int8_t*>(room);
  for (int64_t row = 0; row < problem.m; ++row) {
    DotRow to(tiles, x, row);
    for (int64_t begin = 0; begin < problem.k; begin += tiles.span) {
      const int64_t end = smaller(begin + tiles.span, problem.k);
      for (int64_t k = begin; k < end; k += kVecBytes) {
        store(row, k, smaller(kVecBytes, end - k), to.cells);
        to.cells += to.stride;
      }
    }
  }
  auto* sums = reinterpret_cast<float*>(room + bytes);
  if (with_sums) sum_groups(problem, args, padded_groups, sums);
  return {x, with_sums ? sums : nullptr, nullptr, tiles.row_bytes(),
          padded_groups};
}

}  // namespace
}  // namespace quanto::kernels

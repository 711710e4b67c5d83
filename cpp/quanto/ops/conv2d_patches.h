// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "quanto/core/executor.h"
#include "quanto/ops/conv2d_geometry.h"

namespace quanto::ops {

/// The patches of a group of channels under some output pixels of one image,
/// as the rows of a matrix: [pixels][channels of the group * kernel], in the
/// weight's order. Elements are of 1, 2 or 4 bytes, and zero is all bits zero.
class Patches {
 public:
  Patches(const ConvGeometry& conv, int64_t element_size);

  /// Bytes that a window of `pixels` output pixels takes at most.
  [[nodiscard]] int64_t window_bytes(int64_t pixels) const;

  /// Writes the patches of output pixels [begin, end), counted row by row.
  /// `planes` are the group's channels; `window` is memory for a copy of what
  /// the patches cover, with the padding.
  void write(const std::byte* planes, int64_t begin, int64_t end,
             std::byte* window, std::byte* patches, Executor& executor) const;

 private:
  using Copy = void (*)(const std::byte* from, const int64_t* offsets,
                        int64_t count, int64_t bytes, std::byte* to);

  [[nodiscard]] int64_t window_rows(int64_t begin, int64_t end) const;
  void fill_window(const std::byte* planes, int64_t begin, int64_t rows,
                   std::byte* window, Executor& executor) const;
  /// Where the runs of a patch stand in a window of that many rows.
  [[nodiscard]] std::vector<int64_t> run_offsets(int64_t rows) const;

  const ConvGeometry& conv_;
  int64_t element_size_;
  int64_t row_bytes_;    ///< of the window
  int64_t run_bytes_;    ///< of adjacent elements of a patch that are so in an
                         ///< image too: a kernel's row, or one element
  int64_t runs_of_row_;  ///< runs in a kernel's row
  Copy copy_;
};

}  // namespace quanto::ops

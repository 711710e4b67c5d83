// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

namespace quanto {

/// A tensor seen as [outer][channels][inner] with one scale per channel.
/// Per tensor: {1, 1, numel}; axis 0: {1, size(0), rest}; last axis:
/// {rest, size(-1), 1}.
struct AxisView {
  int64_t outer;
  int64_t channels;
  int64_t inner;

  [[nodiscard]] constexpr int64_t numel() const {
    return outer * channels * inner;
  }
};

/// How an affine weight is cut into groups: `channels` indices of the axis,
/// each with `groups` groups of `group_size` elements; one scale and one shift
/// per group.
///
/// Group row r = channel * groups + group, item i, stands
/// - axis 0: in the base at r * group_size + i, in the code matrix
///   [rows][group_size] at the same place;
/// - last axis: in the base at (group * group_size + i) * channels + channel,
///   in the code matrix [group_size][rows] at i * rows + r.
/// Without groups, `groups` is 1 and the code matrix has the base's layout.
struct GroupLayout {
  bool last_axis;
  int64_t channels;
  int64_t groups;
  int64_t group_size;

  [[nodiscard]] constexpr int64_t rows() const { return channels * groups; }
  [[nodiscard]] constexpr int64_t numel() const { return rows() * group_size; }
  [[nodiscard]] constexpr int64_t base_index(int64_t row, int64_t item) const {
    if (!last_axis) return row * group_size + item;
    const int64_t channel = row / groups, group = row % groups;
    return (group * group_size + item) * channels + channel;
  }
  [[nodiscard]] constexpr int64_t code_index(int64_t row, int64_t item) const {
    return last_axis ? item * rows() + row : row * group_size + item;
  }
  /// Rows and columns of the code matrix.
  [[nodiscard]] constexpr int64_t code_rows() const {
    return last_axis ? group_size : rows();
  }
  [[nodiscard]] constexpr int64_t code_columns() const {
    return last_axis ? rows() : group_size;
  }
};

/// The group size taken when none is asked for, from the elements of one
/// output: the first of 128, 96, 64, 32 that divides them if there are more
/// than 128, else none (one scale per output).
constexpr std::optional<int64_t> automatic_group_size(int64_t elements) {
  if (elements <= 128) return std::nullopt;
  for (int64_t size = 128; size >= 32; size -= 32) {
    if (elements % size == 0) return size;
  }
  return std::nullopt;
}

}  // namespace quanto

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <utility>

namespace quanto {

/// Throws std::invalid_argument (a ValueError in Python) unless `condition`.
/// The message names the op or the file, what was expected and what was got:
/// `quantize_affine: expected group_size to divide 4096, got 48`.
template <typename... Args>
void check_value(bool condition, fmt::format_string<Args...> format,
                 Args&&... args) {
  if (!condition) [[unlikely]] {
    throw std::invalid_argument(
        fmt::format(format, std::forward<Args>(args)...));
  }
}

}  // namespace quanto

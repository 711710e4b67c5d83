// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <c10/util/StringUtil.h>

#include <stdexcept>

namespace quanto::nn {

/// Throws std::invalid_argument unless `condition`; the parts make the message
/// `op: expected X, got Y`. As check_value() of core/error.h, but without fmt,
/// of which torch's include path holds a copy of another version.
template <typename... Parts>
void check(bool condition, const Parts&... parts) {
  if (!condition) [[unlikely]] {
    throw std::invalid_argument(c10::str(parts...));
  }
}

}  // namespace quanto::nn

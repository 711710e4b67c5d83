// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

#include "quanto/io/result.h"

namespace quanto::cli {

/// Exit codes: done; a file or a value is not as expected; wrong usage.
constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kUsage = 2;

/// Ends the command with one line on stderr.
class Failure : public std::runtime_error {
 public:
  Failure(int code, const std::string& line)
      : std::runtime_error(line), code_(code) {}
  [[nodiscard]] int code() const { return code_; }

 private:
  int code_;
};

template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Failure(kFailed, fmt::format(format, std::forward<Args>(args)...));
}

/// For arguments that contradict each other.
template <typename... Args>
[[noreturn]] void fail_usage(fmt::format_string<Args...> format,
                             Args&&... args) {
  throw Failure(kUsage, fmt::format(format, std::forward<Args>(args)...));
}

/// The value, or the error as the command's end.
template <typename T>
T unwrap(io::Result<T> result) {
  if (!result.ok()) throw Failure(kFailed, result.error().line());
  return std::move(result).value();
}
inline void check(const io::Status& status) {
  if (!status.ok()) throw Failure(kFailed, status.error().line());
}

}  // namespace quanto::cli

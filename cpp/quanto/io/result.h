// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace quanto::io {

/// What is wrong with a file: an error as a value. `message` says what was
/// expected and what was got; `offset` is the byte of the file where that
/// shows, if there is such a place.
struct Error {
  std::string file;
  std::optional<uint64_t> offset;
  std::string message;

  /// `file: at byte 8: expected X, got Y`.
  [[nodiscard]] std::string line() const {
    return offset ? fmt::format("{}: at byte {}: {}", file, *offset, message)
                  : fmt::format("{}: {}", file, message);
  }
};

/// A value, or why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  // Both convert, so that `return value;` and `return Error{...};` work.
  // NOLINTNEXTLINE(google-explicit-constructor)
  Result(T value) : content_(std::move(value)) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  Result(Error error) : content_(std::move(error)) {}

  [[nodiscard]] bool ok() const { return content_.index() == 0; }
  /// Only when ok().
  [[nodiscard]] T& value() & { return std::get<0>(content_); }
  [[nodiscard]] const T& value() const& { return std::get<0>(content_); }
  [[nodiscard]] T&& value() && { return std::get<0>(std::move(content_)); }
  /// Only when not ok().
  [[nodiscard]] const Error& error() const { return std::get<1>(content_); }

 private:
  std::variant<T, Error> content_;
};

struct Done {};
using Status = Result<Done>;

}  // namespace quanto::io

#define QUANTO_CONCAT_INNER(a, b) a##b
#define QUANTO_CONCAT(a, b) QUANTO_CONCAT_INNER(a, b)

/// Returns the error of a Status from the enclosing function.
#define QUANTO_RETURN_IF_ERROR(expression)                    \
  if (auto quanto_status = (expression); !quanto_status.ok()) \
  return quanto_status.error()

// A declaration, as `target` is, cannot stand in parentheses.
// NOLINTBEGIN(bugprone-macro-parentheses)
/// `target = value of a Result`, or returns its error.
#define QUANTO_ASSIGN_OR_RETURN(target, expression)            \
  auto QUANTO_CONCAT(quanto_result_, __LINE__) = (expression); \
  if (!QUANTO_CONCAT(quanto_result_, __LINE__).ok())           \
    return QUANTO_CONCAT(quanto_result_, __LINE__).error();    \
  target = std::move(QUANTO_CONCAT(quanto_result_, __LINE__)).value()
// NOLINTEND(bugprone-macro-parentheses)

// SPDX-License-Identifier: Apache-2.0
#include "quanto/io/gguf_cursor.h"

#include <algorithm>

namespace quanto::io {
namespace {

constexpr size_t kMaxNameBytes = 65535;

/// The bytes of the character that begins `text`, or 0: not UTF-8. Overlong
/// forms, surrogates and what lies past U+10FFFF are none (RFC 3629, section
/// 4).
size_t character(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  const size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < size) return 0;
  const uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  const uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  if (byte(1) < low || byte(1) > high) return 0;
  for (size_t i = 2; i < size; ++i) {
    if (byte(i) < 0x80 || byte(i) > 0xbf) return 0;
  }
  return size;
}

/// Where `text` stops to be UTF-8; its size if it does not.
size_t utf8_prefix(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const size_t size = character(text.substr(at));
    if (size == 0) break;
    at += size;
  }
  return at;
}

}  // namespace

Result<std::span<const std::byte>> GgufCursor::take(uint64_t count,
                                                    std::string_view what) {
  if (count > left()) {
    return error(at_, fmt::format("expected {} of {} bytes, got the {} that "
                                  "are left: is the file whole?",
                                  what, count, left()));
  }
  const auto taken = bytes_.subspan(at_, count);
  at_ += count;
  return taken;
}

Result<std::string_view> GgufCursor::string(std::string_view what) {
  QUANTO_ASSIGN_OR_RETURN(const auto size, number<uint64_t>(what));
  const uint64_t begin = at_;
  QUANTO_ASSIGN_OR_RETURN(const auto bytes, take(size, what));
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()),
                              bytes.size());
  const size_t valid = utf8_prefix(text);
  if (valid != text.size()) {
    return error(begin + valid,
                 fmt::format("expected {} of UTF-8, got byte 0x{:02x}", what,
                             static_cast<uint8_t>(text[valid])));
  }
  return text;
}

Result<std::string> GgufCursor::name(std::string_view what) {
  const uint64_t begin = at_;
  QUANTO_ASSIGN_OR_RETURN(const auto text, string(what));
  if (text.empty() || text.size() > kMaxNameBytes) {
    return error(begin, fmt::format("expected {} of 1 to {} bytes, got {}",
                                    what, kMaxNameBytes, text.size()));
  }
  return std::string(text);
}

}  // namespace quanto::io

// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <span>

#include "fuzz_check.h"
#include "quanto/io/checkpoint.h"

// Any bytes are an index or one error, and no index leads out of its folder.

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quanto::io;
  const auto index = parse_index(std::as_bytes(std::span(data, size)), "fuzz");
  if (!index.ok()) {
    FUZZ_CHECK(!index.error().message.empty());
    return 0;
  }
  for (const auto& [tensor, file] : index.value()) {
    FUZZ_CHECK(file.find('/') == std::string::npos);
    FUZZ_CHECK(file.front() != '.');
  }
  const std::string text = index_text(index.value(), size);
  const auto again =
      parse_index(std::as_bytes(std::span(text.data(), text.size())), "fuzz");
  FUZZ_CHECK(again.ok() && again.value() == index.value());
  return 0;
}

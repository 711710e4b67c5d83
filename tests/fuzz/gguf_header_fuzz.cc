// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <span>

#include "fuzz_check.h"
#include "quanto/io/gguf_header.h"

// Any bytes are the head of a GGUF file or one error, tensors lie in the file
// one after the other, and values can be read to their last element.

namespace {

using namespace quanto::io;

uint64_t count_elements(const GgufValue& value) {
  uint64_t count = 0;
  for (const GgufValue& element : elements_of(value)) {
    ++count;
    if (element.type == GgufValueType::kArray) {
      FUZZ_CHECK(count_elements(element) == element.count);
    }
  }
  return count;
}

void check_value(const GgufValue& value) {
  const int kinds =
      value.as_signed().has_value() || value.as_unsigned().has_value();
  FUZZ_CHECK(kinds + value.as_float().has_value() +
                 value.as_bool().has_value() + value.as_string().has_value() +
                 (value.type == GgufValueType::kArray) ==
             1);
  FUZZ_CHECK(count_elements(value) == value.count);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto header =
      parse_gguf_header(std::as_bytes(std::span(data, size)), "fuzz");
  if (!header.ok()) {
    FUZZ_CHECK(!header.error().message.empty());
    FUZZ_CHECK(header.error().offset && *header.error().offset <= size);
    return 0;
  }
  for (const auto& [key, value] : header.value().metadata) check_value(value);
  uint64_t end = 0;
  for (const GgufTensor& tensor : header.value().tensors) {
    FUZZ_CHECK(tensor.begin >= end);
    FUZZ_CHECK(tensor.begin % header.value().alignment == 0);
    FUZZ_CHECK(tensor.numel() / tensor.type->block_elements *
                   static_cast<int64_t>(tensor.type->block_bytes) ==
               static_cast<int64_t>(tensor.bytes));
    end = tensor.begin + tensor.bytes;
    FUZZ_CHECK(header.value().data_begin + end <= size);
  }
  return 0;
}

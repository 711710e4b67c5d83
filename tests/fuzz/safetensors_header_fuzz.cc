// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "fuzz_check.h"
#include "quanto/io/safetensors_header.h"

// Any bytes are a header or one error; a header that was read can be written
// and reads back as the same tensors.

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quanto::io;
  const auto bytes = std::as_bytes(std::span(data, size));
  auto header = parse_safetensors_header(bytes, "fuzz");
  if (!header.ok()) {
    FUZZ_CHECK(!header.error().message.empty());
    FUZZ_CHECK(!header.error().offset || *header.error().offset <= size);
    return 0;
  }
  uint64_t data_bytes = 0;
  for (const TensorInfo& tensor : header.value().tensors) {
    FUZZ_CHECK(header.value().data_begin + tensor.end <= size);
    data_bytes += tensor.bytes();
  }
  auto written = make_safetensors_header(header.value(), "fuzz");
  FUZZ_CHECK(written.ok());
  std::string again = std::move(written).value();
  again.resize(again.size() + data_bytes);
  const auto reread = parse_safetensors_header(
      std::as_bytes(std::span(again.data(), again.size())), "fuzz");
  FUZZ_CHECK(reread.ok());
  FUZZ_CHECK(reread.value().tensors.size() == header.value().tensors.size());
  FUZZ_CHECK(reread.value().metadata == header.value().metadata);
  FUZZ_CHECK(reread.value().checksums == header.value().checksums);
  return 0;
}

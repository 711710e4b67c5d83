// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "fuzz_check.h"
#include "quanto/formats/metadata.h"
#include "quanto/formats/quanto.h"

// Any bytes are a quantization_config, descriptions of weights, a map, tied
// names, or one error; facts that were read are facts that can be stored, and
// names lead to what is stored.

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quanto;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto json =
      io::parse_json(std::as_bytes(std::span(text.data(), text.size())), "f");
  if (json.ok()) {
    const auto map = formats::read_quantization_config(json.value(), "f");
    if (!map.ok()) FUZZ_CHECK(!map.error().message.empty());
  }
  io::SafetensorsHeader header;
  header.metadata = {{formats::kVersionKey, "1"}, {formats::kTiedKey, text}};
  header.tensors = {{"a", &io::file_type(DType::kUInt8), {1}}};
  const auto tied = formats::read_tied(header, "f");
  if (!tied.ok()) {
    FUZZ_CHECK(!tied.error().message.empty());
  } else {
    for (const auto& [name, stored] : tied.value()) {
      FUZZ_CHECK(name != "a" && stored == "a");
    }
  }
  const auto modules = formats::read_modules(
      {{formats::kVersionKey, "1"}, {formats::kModulesKey, text}}, "f");
  if (!modules.ok()) {
    FUZZ_CHECK(!modules.error().message.empty());
  } else {
    // What was read is written and read alike, but for the predecessor's.
    const auto again =
        formats::read_module_map(formats::map_json(*modules.value()), "f");
    FUZZ_CHECK(again.ok() && again.value().size() == modules.value()->size());
  }
  const auto weights = formats::read_descriptions(
      {{formats::kVersionKey, "1"}, {formats::kWeightsKey, text}}, "f");
  if (!weights.ok()) {
    FUZZ_CHECK(!weights.error().message.empty());
    return 0;
  }
  FUZZ_CHECK(json.ok());
  for (const auto& [module, weight] : weights.value()) {
    FUZZ_CHECK(weight.shape.size() >= 2 && weight.columns() > 0);
    const auto group = weight.facts.group_size;
    FUZZ_CHECK(!group || weight.columns() % *group == 0);
  }
  return 0;
}

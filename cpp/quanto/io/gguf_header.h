// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quanto/io/gguf_tensor.h"
#include "quanto/io/gguf_value.h"
#include "quanto/io/result.h"

// The head of a GGUF file, version 2 or 3, little endian (ggml's docs/gguf.md):
//   "GGUF", u32 version, u64 number of tensors, u64 number of metadata entries;
//   each entry:  string key, u32 type, value;
//   each tensor: string name, u32 rank, u64 sizes (innermost first), u32 type,
//                u64 offset in the data;
// then the data, from the next multiple of `general.alignment` (32 if that is
// not said). A string is a u64 length and so many bytes of UTF-8; an array is a
// u32 type, a u64 count and the elements. Tensors lie one after the other, each
// at a multiple of the alignment.

namespace quanto::io {

constexpr std::string_view kGgufMagic = "GGUF";
constexpr uint64_t kDefaultGgufAlignment = 32;

/// Values of the metadata view the bytes that were parsed.
struct GgufHeader {
  uint32_t version = 0;
  uint64_t alignment = kDefaultGgufAlignment;
  std::map<std::string, GgufValue, std::less<>> metadata;
  std::vector<GgufTensor> tensors;  ///< in the order of their data
  uint64_t data_begin = 0;          ///< in the file
};

/// The head of a whole file, checked against its size. Errors carry the byte of
/// the file where they show; `file` names it in them. Memory is in proportion
/// to the bytes read, whatever numbers stand in them.
Result<GgufHeader> parse_gguf_header(std::span<const std::byte> bytes,
                                     const std::string& file);

}  // namespace quanto::io

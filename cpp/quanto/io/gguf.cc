// SPDX-License-Identifier: Apache-2.0
#include "quanto/io/gguf.h"

#include <filesystem>
#include <fstream>
#include <utility>

namespace quanto::io {

Result<GgufFile> GgufFile::open(const std::string& path) {
  QUANTO_ASSIGN_OR_RETURN(MappedFile file, MappedFile::open(path));
  QUANTO_ASSIGN_OR_RETURN(GgufHeader header,
                          parse_gguf_header(file.bytes(), path));
  return GgufFile(std::move(file), std::move(header));
}

std::span<const std::byte> GgufFile::data(const GgufTensor& tensor) const {
  return file_.bytes().subspan(header_.data_begin + tensor.begin, tensor.bytes);
}

bool is_gguf(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return false;
  if (path.ends_with(".gguf")) return true;
  char first[kGgufMagic.size()] = {};
  std::ifstream(path, std::ios::binary).read(first, sizeof(first));
  return std::string_view(first, sizeof(first)) == kGgufMagic;
}

}  // namespace quanto::io

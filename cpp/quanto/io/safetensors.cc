// SPDX-License-Identifier: Apache-2.0
#include "quanto/io/safetensors.h"

#include <utility>

namespace quanto::io {

Result<SafetensorsFile> SafetensorsFile::open(const std::string& path) {
  QUANTO_ASSIGN_OR_RETURN(MappedFile file, MappedFile::open(path));
  QUANTO_ASSIGN_OR_RETURN(SafetensorsHeader header,
                          parse_safetensors_header(file.bytes(), path));
  return SafetensorsFile(std::move(file), std::move(header));
}

SafetensorsFile::SafetensorsFile(MappedFile file, SafetensorsHeader header)
    : file_(std::move(file)), header_(std::move(header)) {
  places_.reserve(header_.tensors.size());
  for (size_t i = 0; i < header_.tensors.size(); ++i) {
    places_.emplace(header_.tensors[i].name, i);
  }
}

const TensorInfo* SafetensorsFile::find(std::string_view name) const {
  const auto found = places_.find(std::string(name));
  return found == places_.end() ? nullptr : &header_.tensors[found->second];
}

std::span<const std::byte> SafetensorsFile::data(
    const TensorInfo& tensor) const {
  return file_.bytes().subspan(header_.data_begin + tensor.begin,
                               tensor.bytes());
}

Result<SafetensorsWriter> SafetensorsWriter::create(
    const std::string& path, std::map<std::string, std::string> metadata,
    std::vector<TensorInfo> tensors) {
  SafetensorsHeader header{std::move(metadata), std::move(tensors)};
  QUANTO_ASSIGN_OR_RETURN(const std::string bytes,
                          make_safetensors_header(header, path));
  const uint64_t data = header.tensors.empty() ? 0 : header.tensors.back().end;
  QUANTO_ASSIGN_OR_RETURN(AtomicFile file,
                          AtomicFile::create(path, header.data_begin + data));
  QUANTO_RETURN_IF_ERROR(
      file.write(0, std::as_bytes(std::span(bytes.data(), bytes.size()))));
  return SafetensorsWriter(std::move(file), std::move(header));
}

SafetensorsWriter::SafetensorsWriter(AtomicFile file, SafetensorsHeader header)
    : file_(std::move(file)), data_begin_(header.data_begin) {
  for (TensorInfo& tensor : header.tensors) {
    std::string name = tensor.name;
    missing_.emplace(std::move(name), std::move(tensor));
  }
}

Status SafetensorsWriter::write(const std::string& name,
                                std::span<const std::byte> bytes) {
  const auto found = missing_.find(name);
  if (found == missing_.end()) {
    return Error{file_.target(),
                 {},
                 fmt::format("expected a tensor that is still to be written, "
                             "got '{}'",
                             name)};
  }
  if (bytes.size() != found->second.bytes()) {
    return Error{file_.target(),
                 {},
                 fmt::format("expected {} bytes of '{}', got {}",
                             found->second.bytes(), name, bytes.size())};
  }
  QUANTO_RETURN_IF_ERROR(file_.write(data_begin_ + found->second.begin, bytes));
  missing_.erase(found);
  return Done{};
}

Status SafetensorsWriter::commit() {
  if (!missing_.empty()) {
    return Error{file_.target(),
                 {},
                 fmt::format("expected every tensor to be written, got none "
                             "for '{}'",
                             missing_.begin()->first)};
  }
  return file_.commit();
}

}  // namespace quanto::io

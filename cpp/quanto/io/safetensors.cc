// SPDX-License-Identifier: Apache-2.0
#include "quanto/io/safetensors.h"

#include <utility>

#include "quanto/core/checksum.h"
#include "quanto/io/checksums.h"

namespace quanto::io {

Result<SafetensorsFile> SafetensorsFile::open(const std::string& path,
                                              Mapping mapping) {
  QUANTO_ASSIGN_OR_RETURN(MappedFile file, MappedFile::open(path, mapping));
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
  SafetensorsHeader header;
  header.metadata = std::move(metadata);
  header.tensors = std::move(tensors);
  Checksums checksums;  // of the length that they will have
  for (const TensorInfo& tensor : header.tensors) {
    checksums[tensor.name] = checksum({});
  }
  QUANTO_ASSIGN_OR_RETURN(
      const std::string bytes,
      make_sealed_header(header, std::move(checksums), path));
  const uint64_t data = header.tensors.empty() ? 0 : header.tensors.back().end;
  QUANTO_ASSIGN_OR_RETURN(AtomicFile file,
                          AtomicFile::create(path, header.data_begin + data));
  QUANTO_RETURN_IF_ERROR(
      file.write(0, std::as_bytes(std::span(bytes.data(), bytes.size()))));
  return SafetensorsWriter(std::move(file), std::move(header));
}

SafetensorsWriter::SafetensorsWriter(AtomicFile file, SafetensorsHeader header)
    : file_(std::move(file)), header_(std::move(header)) {
  for (const TensorInfo& tensor : header_.tensors) {
    missing_.emplace(tensor.name, tensor);
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
  checksums_[name] = checksum(bytes);
  QUANTO_RETURN_IF_ERROR(
      file_.write(header_.data_begin + found->second.begin, bytes));
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
  QUANTO_ASSIGN_OR_RETURN(
      const std::string bytes,
      make_sealed_header(header_, checksums_, file_.target()));
  QUANTO_RETURN_IF_ERROR(
      file_.write(0, std::as_bytes(std::span(bytes.data(), bytes.size()))));
  return file_.commit();
}

}  // namespace quanto::io

// SPDX-License-Identifier: Apache-2.0
// Runs a packaged model on saved inputs, without Python:
//
//   quanto_deploy MODEL.pt2 INPUTS.pt OUTPUTS.pt [REPEATS]
//
// INPUTS.pt is what torch.save wrote of a tensor, or of a tuple or list of
// them; torch.load reads OUTPUTS.pt, a tuple. The first run is saved; with
// REPEATS the median of as many further ones is printed.
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/csrc/jit/serialization/pickle.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <fstream>
#include <ios>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using Tensors = std::vector<at::Tensor>;

std::vector<char> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    throw std::runtime_error(path + ": expected a file that can be read");
  }
  return {std::istreambuf_iterator<char>(file), {}};
}

Tensors read_tensors(const std::string& path) {
  const c10::IValue value = torch::jit::pickle_load(read_file(path));
  if (value.isTensor()) return {value.toTensor()};
  if (value.isTensorList()) return value.toTensorVector();
  if (!value.isTuple() && !value.isList()) {
    throw std::runtime_error(path + ": expected tensors, got " +
                             value.tagKind());
  }
  Tensors tensors;
  const auto elements = value.isTuple() ? value.toTupleRef().elements().vec()
                                        : value.toListRef().vec();
  for (const c10::IValue& element : elements) {
    tensors.push_back(element.toTensor());
  }
  return tensors;
}

void write_tensors(const std::string& path, const Tensors& tensors) {
  // A list of tensors would be a type of its own, which torch.load refuses.
  const auto values =
      c10::ivalue::Tuple::create({tensors.begin(), tensors.end()});
  const std::vector<char> bytes = torch::jit::pickle_save(values);
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file) {
    throw std::runtime_error(path + ": expected a file that can be written");
  }
}

double median_ms(torch::inductor::AOTIModelPackageLoader& model,
                 const Tensors& inputs, int repeats) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> times;
  for (int i = 0; i < repeats; ++i) {
    const auto start = Clock::now();
    model.run(inputs);
    const std::chrono::duration<double, std::milli> time = Clock::now() - start;
    times.push_back(time.count());
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

void run(const char* package, const char* inputs_path, const char* outputs_path,
         int repeats) {
  torch::inductor::AOTIModelPackageLoader model(package);
  const Tensors inputs = read_tensors(inputs_path);
  const Tensors outputs = model.run(inputs);
  write_tensors(outputs_path, outputs);
  for (const at::Tensor& output : outputs) {
    std::printf("output %s %s\n", c10::toString(output.scalar_type()),
                c10::str(output.sizes()).c_str());
  }
  if (repeats > 0) {
    std::printf("%.3f ms, median of %d runs\n",
                median_ms(model, inputs, repeats), repeats);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4 && argc != 5) {
    std::fprintf(stderr, "usage: %s MODEL.pt2 INPUTS.pt OUTPUTS.pt [REPEATS]\n",
                 argv[0]);
    return 2;
  }
  try {
    run(argv[1], argv[2], argv[3], argc == 5 ? std::stoi(argv[4]) : 0);
  } catch (const c10::Error& error) {
    std::fprintf(stderr, "%s: %s\n", argv[0], error.what_without_backtrace());
    return 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
    return 1;
  }
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include "quanto/nn/conv2d.h"

#include <torch/nn/functional/padding.h>
#include <torch/types.h>

#include <variant>

#include "quanto/nn/functional.h"

namespace quanto::nn {

namespace {

using ConvOptions = torch::nn::detail::ConvNdOptions<2>;

ConvOptions conv_options(const torch::nn::Conv2dOptions& options) {
  return std::visit(
      [&](const auto& padding) {
        return ConvOptions(options.in_channels(), options.out_channels(),
                           options.kernel_size())
            .stride(options.stride())
            .padding(padding)
            .dilation(options.dilation())
            .groups(options.groups())
            .bias(options.bias())
            .padding_mode(options.padding_mode());
      },
      options.padding());
}

template <typename Array>
std::array<int64_t, 2> pair(const Array& values) {
  return {(*values)[0], (*values)[1]};
}

/// Zeros or values to add on each side, of the last dimension first: left,
/// right, top, bottom.
std::array<int64_t, 4> sides_of(const ConvOptions& options) {
  const auto& padding = options.padding();
  if (std::holds_alternative<torch::enumtype::kValid>(padding)) return {};
  if (const auto* given = std::get_if<torch::ExpandingArray<2>>(&padding)) {
    const auto [rows, columns] = pair(*given);
    return {columns, columns, rows, rows};
  }
  std::array<int64_t, 4> sides{};  // kSame: an odd one on the right
  for (const int i : {0, 1}) {
    const int64_t total =
        (*options.dilation())[i] * ((*options.kernel_size())[i] - 1);
    sides[2 - 2 * i] = total / 2;
    sides[3 - 2 * i] = total - total / 2;
  }
  return sides;
}

/// The name that torch's operators have for a mode other than zeros.
const char* mode_name(const ConvOptions& options) {
  const auto& mode = options.padding_mode();
  if (std::holds_alternative<torch::enumtype::kReflect>(mode)) return "reflect";
  if (std::holds_alternative<torch::enumtype::kReplicate>(mode)) {
    return "replicate";
  }
  if (std::holds_alternative<torch::enumtype::kCircular>(mode)) {
    return "circular";
  }
  return "constant";
}

}  // namespace

Conv2dImpl::Conv2dImpl(const torch::nn::Conv2dOptions& given)
    : Quantizable(conv_options(given)) {}

Conv2dImpl::Conv2dImpl(const torch::nn::Conv2dImpl& layer)
    : Quantizable(layer.options) {
  parameters_["weight"] = weight = layer.weight;
  parameters_["bias"] = bias = layer.bias;
  train(layer.is_training());
}

void Conv2dImpl::reset() {
  ConvNdImpl::reset();
  restore();
}

void Conv2dImpl::pretty_print(std::ostream& stream) const {
  stream << "quanto::nn::Conv2d(" << options.in_channels() << ", "
         << options.out_channels() << ", kernel_size=" << options.kernel_size()
         << ", stride=" << options.stride() << ")";
}

const LayerKind Conv2dImpl::kKind{.name = "Conv2d",
                                  .quantizes_weight = true,
                                  .only_when_named = false,
                                  .quantizes_input = true,
                                  .quantizes_activations = true};

std::pair<at::Tensor, std::array<int64_t, 2>> Conv2dImpl::padded(
    const at::Tensor& input) const {
  const std::string mode = mode_name(options);
  const bool zeros = mode == "constant";
  const auto sides = sides_of(options);
  if (zeros && sides[0] == sides[1] && sides[2] == sides[3]) {
    return {input, {sides[2], sides[0]}};
  }
  return {at::pad(input, sides, mode), {0, 0}};
}

at::Tensor Conv2dImpl::float_forward(const at::Tensor& input) {
  const auto [x, padding] = padded(input);
  return at::conv2d(x, weight, bias, options.stride(), padding,
                    options.dilation(), options.groups());
}

at::Tensor Conv2dImpl::forward(const at::Tensor& input) {
  if (!quantized()) return float_forward(input);
  return with_weight([&](const QWeight& codes) {
    return with_activations(
        input, bias, [&](const auto& quantization, const auto& scale) {
          const auto [x, padding] = padded(input);
          const functional::Geometry geometry{pair(options.stride()), padding,
                                              pair(options.dilation()),
                                              options.groups()};
          return functional::conv2d(x, codes, bias, trained(), geometry,
                                    quantization, scale);
        });
  });
}

}  // namespace quanto::nn

// SPDX-License-Identifier: Apache-2.0
#include <torch/csrc/stable/library.h>

// Every operator of torch.ops.quanto. The first four have the names, schemas
// and results of optimum-quanto's. Float tensors are float32, float16 or
// bfloat16; layouts and shapes are those of core/grouping.h and
// core/packing.h. A bad argument raises ValueError,
// `op: expected X, got Y`, before anything is computed. No operator has a
// gradient: quanto.function holds the differentiable faces.
STABLE_TORCH_LIBRARY(quanto, m) {
  // Codes of `dtype` (int8 or float8) in base's shape. scale: 0-d per tensor
  // (axis None), else base's rank with 1 everywhere but the axis (first or
  // last); base's dtype.
  m.def(
      "quantize_symmetric(Tensor base, ScalarType dtype, int? axis, "
      "Tensor scale) -> Tensor");
  // uint8 codes, one a byte, in the shape of the groups. A float shift has
  // base's dtype, a zero point is uint8 (or int8, not negative).
  m.def(
      "quantize_affine(Tensor base, int bits, int axis, int? group_size, "
      "Tensor scale, Tensor shift) -> Tensor");
  // uint8 codes (packed rows * 8 / bits, ...): all rows, padding included.
  m.def("unpack(Tensor self, int bits) -> Tensor");
  // A (..., K) float, int8 or float8; B (N, K) int8 or float8; scales of one
  // or N elements -> A * (scales * B)^T, in A's dtype if it is a float one,
  // else in that of scales.
  m.def("qbytes_mm(Tensor A, Tensor B, Tensor scales) -> Tensor");
  // uint8 codes (rows, ...) -> (ceil(rows * bits / 8), ...).
  m.def("pack(Tensor self, int bits) -> Tensor");
  // scale * data, in scale's dtype.
  m.def("dequantize_symmetric(Tensor data, int? axis, Tensor scale) -> Tensor");
  // The weight of shape `size`, in scale's dtype, from packed codes:
  // scale * q - shift, or scale * (q - shift) with a uint8 zero point.
  m.def(
      "dequantize_affine(Tensor data, int bits, int axis, int? group_size, "
      "int[] size, Tensor scale, Tensor shift) -> Tensor");
  // Largest |base| / largest code of the type, in base's dtype: 0-d, or kept
  // dimensions with an axis.
  m.def("absmax_scale(Tensor base, str qtype, int? axis) -> Tensor");
  // scale = range / (2^bits - 1), shift = -min of each group, in base's dtype;
  // with zeropoint the shift is the uint8 code of zero.
  m.def(
      "max_scale(Tensor base, int bits, int axis, int? group_size, "
      "bool zeropoint) -> (Tensor scale, Tensor shift)");
  // max_scale with the shift refined by half-quadratic quantization.
  m.def(
      "hqq_scale(Tensor base, int bits, int axis, int? group_size, "
      "bool zeropoint, float lp_norm, float beta, float kappa, int iters) -> "
      "(Tensor scale, Tensor shift)");
  // input (..., K) times a quantized weight (out_features, K) with axis 0,
  // plus bias (out_features,) of input's dtype -> (..., out_features). 8 bits:
  // data is (out_features, K), scale has one or out_features elements, no
  // shift. 4 and 2 bits: packed data, scale and shift of
  // out_features * K / group_size elements. scale and a float shift share any
  // float dtype. With 8 bits out_features may be left out, as may all that is
  // not there: from Python an argument costs as much as the checks of it.
  m.def(
      "linear(Tensor input, Tensor data, Tensor scale, Tensor? shift=None, "
      "Tensor? bias=None, int bits=8, int? group_size=None, "
      "int? out_features=None) -> Tensor");
  // linear with quantized activations. `activation` is int8 or a float8 type.
  // input: float and quantized here, with input_scale (0-d, rounded to input's
  // dtype, as quantize_symmetric does) or with a scale per row where there is
  // none; or codes of `activation` with their input_scale. The result is
  // float, of input's dtype or else of scale's, which bias has too; or, with
  // output_scale (0-d), codes of `activation`: quantize_symmetric of it.
  m.def(
      "qlinear(Tensor input, Tensor? input_scale, Tensor data, Tensor scale, "
      "Tensor? shift, Tensor? bias, int bits, int? group_size, "
      "int out_features, ScalarType activation, Tensor? output_scale) -> "
      "Tensor");
  // input (N, C, H, W) or (C, H, W), padded with zeros, convolved with a
  // quantized weight of shape `size` (O, C / groups, kh, kw), plus bias (O,).
  // The weight is as linear's, (O, C / groups * kh * kw). `activation` None:
  // input and result are float; else as qlinear, with a scale per image where
  // input_scale is None.
  m.def(
      "conv2d(Tensor input, Tensor? input_scale, Tensor data, Tensor scale, "
      "Tensor? shift, Tensor? bias, int bits, int? group_size, int[] size, "
      "int[] stride, int[] padding, int[] dilation, int groups, "
      "ScalarType? activation, Tensor? output_scale) -> Tensor");
  // Rows of a quantized weight (num_embeddings, embedding_dim), as linear's:
  // indices' shape and embedding_dim, in scale's dtype. indices are int64 or
  // int32; one out of range raises IndexError.
  m.def(
      "embedding(Tensor indices, Tensor data, Tensor scale, Tensor? shift, "
      "int bits, int? group_size, int num_embeddings, int embedding_dim) -> "
      "Tensor");
  // Calibration of a 0-d scale, in its dtype: absmax_scale(base, qtype, None)
  // if scale is 1, else momentum * scale + (1 - momentum) * that. An empty base
  // leaves it as it is.
  m.def(
      "moving_absmax_scale(Tensor scale, Tensor base, str qtype, "
      "float momentum) -> Tensor");
  // The group size taken when none is asked for, from the elements of one
  // output; None is one scale per output.
  m.def("automatic_group_size(int elements) -> int?");
  // One line per type: name, is_floating_point, bits, torch dtype, qmin, qmax.
  m.def("qtype_table() -> str");
  // The variant and the instruction set that a linear problem would take,
  // "name isa"; shift is none, float or integer.
  m.def(
      "plan(ScalarType activation, str qtype, int rows, int in_features, "
      "int out_features, int? group_size, str shift) -> str");
  // The same of a convolution whose output planes have that many pixels; size
  // is that of the weight.
  m.def(
      "plan_conv2d(ScalarType activation, str qtype, int pixels, int[] size, "
      "int[] stride, int groups, int? group_size, str shift) -> str");
  // The instruction set in use, and those this CPU has, best first.
  m.def("isa() -> str");
  m.def("available_isas() -> str");
}

# syntax=docker/dockerfile:1
# One image a service, by target: text-encoder, denoiser, vae, orchestrator, and the command line as cogwheel.
#
#     docker build --target denoiser --tag cogwheel-denoiser .
#     docker build --target denoiser --build-arg PROVIDER=cuda --tag cogwheel-denoiser-cuda .
#
# `make images` builds them all. What is in the final images: one binary, ONNX Runtime where a model is computed, and what these
# link to. No shell, no package manager, no root.

# cpu or cuda: which ONNX Runtime, and on what it stands. The binaries are the same.
ARG PROVIDER=cpu
# Name digests here to build from the same images again.
ARG RUST_IMAGE=rust:1-bookworm
ARG PYTHON_IMAGE=python:3.13-slim-bookworm
ARG CPU_IMAGE=gcr.io/distroless/cc-debian12:nonroot
ARG CUDA_IMAGE=nvidia/cuda:13.0.2-cudnn-runtime-ubuntu24.04

FROM ${RUST_IMAGE} AS build
WORKDIR /src
# The compiler is the one that the toolchain file names, not the image's.
COPY rust-toolchain.toml ./
RUN rustup set profile minimal && rustup toolchain install
COPY . .
# Caches are kept between builds and are no part of a layer, so the binaries are copied out.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bins \
    && mkdir /out \
    && for name in cogwheel cogwheel-text-encoder cogwheel-denoiser cogwheel-vae cogwheel-orchestrator; do \
        cp "target/release/${name}" /out/ || exit 1; \
    done

FROM ${PYTHON_IMAGE} AS runtime
ARG PROVIDER
WORKDIR /src
COPY tools/setup_runtime.py tools/
# Checks the wheel's digest.
RUN python3 tools/setup_runtime.py --provider ${PROVIDER} --folder /onnxruntime

# What the binaries stand on.
FROM ${CPU_IMAGE} AS base-cpu

FROM ${CUDA_IMAGE} AS base-cuda

# hadolint ignore=DL3006
FROM base-${PROVIDER} AS base
COPY LICENSE /usr/share/doc/cogwheel/
WORKDIR /tmp
# distroless' nonroot; a number, so that runAsNonRoot can be checked.
USER 65532:65532

FROM base AS computing
COPY --from=runtime /onnxruntime/ /usr/local/lib/onnxruntime/
ENV ORT_DYLIB_PATH=/usr/local/lib/onnxruntime

FROM computing AS text-encoder
COPY --from=build /out/cogwheel-text-encoder /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/cogwheel-text-encoder"]

FROM computing AS denoiser
COPY --from=build /out/cogwheel-denoiser /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/cogwheel-denoiser"]

FROM computing AS vae
COPY --from=build /out/cogwheel-vae /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/cogwheel-vae"]

FROM computing AS cogwheel
COPY --from=build /out/cogwheel /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/cogwheel"]

# Computes nothing, so it has no ONNX Runtime.
FROM base AS orchestrator
COPY --from=build /out/cogwheel-orchestrator /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/cogwheel-orchestrator"]

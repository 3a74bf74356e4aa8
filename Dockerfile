# syntax=docker/dockerfile:1
# One version of Rust and of Debian: another compiles other bytes.
FROM docker.io/library/rust:1.95-slim-trixie AS build
# aws-lc compiles C, and this image has the compiler that Rust links with.
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    .ci/release-build && cp target/release/agentkube /agentkube

FROM gcr.io/distroless/cc-debian13:nonroot
COPY --from=build /agentkube /usr/local/bin/agentkube
# The number, so that runAsNonRoot can be checked.
USER 65532:65532
ENTRYPOINT ["agentkube"]
CMD ["manager"]

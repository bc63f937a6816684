# Both images of a release: `docker build --target proxy .` and `--target control-plane .`
#
# One static program each, on nothing: no shell, no libc, no package manager. The programs are built
# for musl, on Debian, whose musl-gcc compiles aws-lc and mimalloc. The same sources give the same
# bytes: dependencies are locked, paths are mapped away, nothing is dated, and linker build ids are
# left out. Pin the two base images by digest where your registry's policy asks for it.

FROM rust:1.95.0-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends musl-tools \
 && rm -rf /var/lib/apt/lists/*
# The target of the machine that builds; for another one, build there.
RUN rustup target add "$(uname -m)-unknown-linux-musl"
WORKDIR /src
COPY . .
ARG SOURCE_DATE_EPOCH=0
ENV CARGO_INCREMENTAL=0 \
    CC_x86_64_unknown_linux_musl=musl-gcc \
    CC_aarch64_unknown_linux_musl=musl-gcc \
    CFLAGS="-ffile-prefix-map=/usr/local/cargo=/cargo -ffile-prefix-map=/src=/src" \
    RUSTFLAGS="-C link-arg=-Wl,--build-id=none --remap-path-prefix=/usr/local/cargo=/cargo"

FROM build AS build-proxy
RUN cargo build --release --locked --target "$(uname -m)-unknown-linux-musl" \
      --no-default-features --features proxy --bin outrigger-proxy \
 && install -D -m 0755 "target/$(uname -m)-unknown-linux-musl/release/outrigger-proxy" /out/outrigger-proxy

FROM build AS build-control-plane
RUN cargo build --release --locked --target "$(uname -m)-unknown-linux-musl" --bin outrigger \
 && install -D -m 0755 "target/$(uname -m)-unknown-linux-musl/release/outrigger" /out/outrigger

# Roots for TLS to services outside of the mesh, and nothing else of a distribution.
FROM debian:bookworm-slim AS roots
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates

FROM scratch AS control-plane
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="outrigger-control-plane" \
      org.opencontainers.image.description="The control plane of Outrigger, a service mesh" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build-control-plane /out/outrigger /usr/bin/outrigger
USER 2103:2103
ENTRYPOINT ["/usr/bin/outrigger"]
CMD ["control-plane", "--kubernetes"]

# The init container of a pod runs the same image as user 0, which the pod says. `outrigger-proxy`
# is found by name, because the hook of the classic form calls it so.
FROM scratch AS proxy
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="outrigger-proxy" \
      org.opencontainers.image.description="The sidecar of Outrigger, a service mesh" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/usr/bin
COPY --from=roots /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build-proxy /out/outrigger-proxy /usr/bin/outrigger-proxy
USER 2102:2102
ENTRYPOINT ["/usr/bin/outrigger-proxy"]
CMD ["run"]

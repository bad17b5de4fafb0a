# The program alone: a static binary and the certificate authorities. It runs as a user without rights.
#
#   docker build --tag servegauge .
#   docker run --rm --network host servegauge run --base-url http://localhost:8000
FROM rust:1-alpine AS build
RUN apk add --no-cache build-base ca-certificates git
WORKDIR /src
COPY . .
RUN cargo build --locked --profile dist --features object-store && mkdir -p /root-fs/data /root-fs/tmp && chmod 1777 /root-fs/tmp

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/target/dist/servegauge /
COPY --from=build /root-fs/tmp /tmp
# Results and kept runs; mount a volume here to keep them.
COPY --from=build --chown=65532:65532 /root-fs/data /data
ENV HOME=/data SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
WORKDIR /data
USER 65532:65532
ENTRYPOINT ["/servegauge"]

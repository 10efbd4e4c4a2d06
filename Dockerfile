# The image holds one static binary and nothing else: no shell, no libc, no CA bundle (web roots are compiled in).
#
#   docker build -t kafka_consumer .
#   docker build --build-arg ARCH=aarch64 --platform linux/arm64 -t kafka_consumer .    # cross-compiled, no emulation
#
# Run it with a read-only root and these writable: /var/run/kafka_consumer /app/logs /tmp /data/automation_consumer

ARG RUST=1.95.0

FROM --platform=$BUILDPLATFORM docker.io/library/rust:${RUST}-slim-bookworm AS build
ARG ARCH=x86_64
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends binutils file && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# The folders of the image, owned by its user; and the names of the program, links to the one binary.
RUN binary=$(tools/static-build "$ARCH") \
 && install -D -m 0755 "$binary" /root-fs/opt/y/1.0/bin/kafka_consumer \
 && for name in app_start app_liveness app_readiness app_prestop app_configure; do \
      install -d /root-fs/scripts && ln -s /opt/y/1.0/bin/kafka_consumer "/root-fs/scripts/$name"; \
    done \
 && install -d -o 1000 -g 1000 /root-fs/app/config /root-fs/app/logs /root-fs/var/run/kafka_consumer \
      /root-fs/data/automation_consumer \
 && install -d -m 1777 /root-fs/tmp

FROM scratch
COPY --from=build /root-fs/ /
USER 1000:1000
EXPOSE 4080
STOPSIGNAL SIGTERM
ENV CONFIG_FILE=/app/config/config.yaml
ENTRYPOINT ["/scripts/app_start"]

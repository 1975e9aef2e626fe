FROM python:3.11-slim-bookworm
RUN install -d -o nobody -g nogroup /prometheus
COPY fetch /usr/bin/wget
USER nobody
VOLUME /prometheus
ENTRYPOINT ["/usr/bin/prometheus"]

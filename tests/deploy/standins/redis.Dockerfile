FROM python:3.11-slim-bookworm
RUN install -d -o 999 -g 1000 /data
VOLUME /data

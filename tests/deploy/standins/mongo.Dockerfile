FROM python:3.11-slim-bookworm
COPY java /opt/java
COPY mongo /opt/mongo
COPY mongod /usr/bin/mongod
COPY mongosh /usr/bin/mongosh
RUN install -d -o 999 -g 999 /data/db /data/configdb
VOLUME /data/db /data/configdb
CMD ["mongod"]

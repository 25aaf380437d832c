# imagpose in a container: the web page by default, any other command by name.
#
#     docker build -t imagpose .
#     docker run --rm -p 127.0.0.1:7860:7860 imagpose
#     docker run --rm -v "$PWD:/work" --user "$(id -u):$(id -g)" imagpose generate --source me.png --pose walk-03 --out pictures
#     docker run --rm -v "$PWD:/work" --user "$(id -u):$(id -g)" imagpose bulk requests.csv --out results
#
# TORCH_INDEX is the index of PyTorch's builds for a device (see PyTorch's "Get started"): that of the CPU builds for a
# small image, that of a CUDA version for GPUs (docker run --gpus all). Without it pip takes its own index's build, which on
# x86 runs on GPUs and on the CPU, and is large.
FROM python:3.11-slim

ARG TORCH_INDEX=""
ARG EXTRAS=pose,provenance,video,web

WORKDIR /opt/imagpose
COPY constraints.txt ./
# Without what torch needs: PyTorch's index has other versions of it than constraints.txt. The second pip brings it.
RUN pip install --no-cache-dir --no-deps --constraint constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch \
    && useradd --create-home --uid 1000 imagpose \
    && chmod 755 /home/imagpose
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src ./src
RUN pip install --no-cache-dir --constraint constraints.txt ".[$EXTRAS]"

USER 1000
# Also where --user names somebody without a home: the pose networks lie there.
ENV HOME=/home/imagpose
RUN imagpose poses setup
WORKDIR /work
EXPOSE 7860
ENTRYPOINT ["imagpose"]
# 0.0.0.0 is the container's own network; what -p says decides who reaches it.
CMD ["web", "--host", "0.0.0.0"]

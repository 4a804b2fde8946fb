# Thin aliases: each target runs `python -m rag_helpers …`, which works without make and on Windows.

PYTHON ?= python3
RAG := $(PYTHON) -m rag_helpers

# The question travels through the environment as it was typed: quotes and dollar signs in it
# meet neither a shell nor make's own expansion.
export RAG_QUESTION = $(value Q)
unexport Q

.DEFAULT_GOAL := help
.PHONY: help install lab check test test-slow notebooks results ask serve load bench adapters doctor \
        scale-demo test-colab workshop book slides clean

help: ## list the targets
	@$(PYTHON) -c "import re; [print('  make %-11s %s' % m) for m in re.findall(r'(?m)^([a-z-]+):.*?## (.*)', open('Makefile', encoding='utf-8').read())]"

install: ## make .venv and install everything; TORCH=cpu takes the small CPU build of PyTorch
	@$(RAG) install

lab: ## open the notebooks in JupyterLab (installs first)
	@$(RAG) lab

check: ## lint, types, fast tests, notebooks in step with their sources: about a minute
	@$(RAG) check-code

test: ## everything: lint, types, all tests, all notebooks, browser
	@$(RAG) test

test-slow: ## the tests that take minutes
	@$(RAG) test-slow

notebooks: ## execute all notebooks and write them anew
	@$(RAG) notebooks

results: ## write the pages' tables from the measured files
	@$(RAG) results

ask: ## answer a question: make ask Q="What happens when I divide by zero?"
	@$(RAG) ask

serve: ## answer over HTTP on this machine; settings are variables such as RAG_PORT
	@$(RAG) serve

load: ## load the service with 64 clients for a minute, and check every reply
	@$(RAG) load

bench: ## measure the recipe, the default and llama.cpp side by side
	@$(RAG) bench

adapters: ## train the adapters of both halves; RAG_XQUAD=FILE names XQuAD's English file
	@$(RAG) adapters

scale-demo: ## the same steps on several Ray nodes and Milvus, with nodes killed (installs first)
	@$(RAG) scale-demo

doctor: ## report what works on this machine, and the cure for what does not
	@$(RAG) check

test-colab: ## notebooks and widgets on Colab's versions; OLDEST=1: on the oldest supported
	@$(RAG) test-colab $(if $(OLDEST),--oldest)

workshop: ## one folder to install from without a network; FOR="linux windows macos-arm64"
	@$(RAG) workshop $(foreach name,$(FOR),--platform $(name))

book: ## notebooks and documents as a searchable site in build/book
	@$(RAG) book

slides: ## slides from the notebooks in build/slides
	@$(RAG) slides

clean: ## delete caches and build leftovers; .venv stays
	@$(RAG) clean

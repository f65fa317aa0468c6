/* gate.c: see gate.h. */
#include "gate.h"

#include <stdlib.h>

void gates_init(Gates *gates, Jobs *jobs) {
  *gates = (Gates){.jobs = jobs};
  pthread_mutex_init(&gates->lock, NULL);
  pthread_cond_init(&gates->moved, NULL);
}

Gate *gate_make(Gates *gates, uint8_t kind, uint64_t token) {
  Gate *gate = calloc(1, sizeof *gate);
  if (!gate) return NULL;
  gate->gates = gates;
  gate->kind = kind;
  gate->token = token;
  pthread_mutex_lock(&gates->lock);
  bool room = gates->count < GATES_MAX;
  if (room) {
    gates->count++;
    gate->tag = kind == GATE_PULL ? ++gates->last_tag | 1u << 31 : 0;
    gate->next = gates->all;
    gate->link = &gates->all;
    if (gate->next) gate->next->link = &gate->next;
    gates->all = gate;
  }
  pthread_mutex_unlock(&gates->lock);
  if (room) return gate;
  free(gate);
  return NULL;
}

static void unlink_gate(Gate *gate) {
  *gate->link = gate->next;
  if (gate->next) gate->next->link = gate->link;
  gate->gates->count--;
}

void gate_drop(Gate *gate) {
  Gates *gates = gate->gates;
  pthread_mutex_lock(&gates->lock);
  unlink_gate(gate);
  pthread_mutex_unlock(&gates->lock);
  free(gate);
}

void gate_reached(void *arg) {
  Gate *gate = arg;
  Gates *gates = gate->gates;
  pthread_mutex_lock(&gates->lock);
  bool given_up = gate->taken;
  gate->taken = true;
  pthread_mutex_unlock(&gates->lock);
  if (given_up) return;
  jobs_push_first(gates->jobs, &gate->job);
  pthread_mutex_lock(&gates->lock);
  while (!gate->open && !gates->ended) pthread_cond_wait(&gates->moved, &gates->lock);
  bool mine = gate->open && !gate->kept;
  if (mine) unlink_gate(gate);
  pthread_mutex_unlock(&gates->lock);
  if (mine) free(gate);
}

void gate_give_up(Gates *gates, uint64_t token, int32_t status) {
  pthread_mutex_lock(&gates->lock);
  Gate *gate = gates->all;
  while (gate && (gate->token != token || gate->taken || gate->kept)) gate = gate->next;
  if (gate) {
    gate->taken = true;
    gate->status = status;
  }
  pthread_mutex_unlock(&gates->lock);
  if (gate) jobs_push(gates->jobs, &gate->job);
}

void gate_set_loose(Gate *gate, int32_t status) {
  gate->taken = gate->loose = true;
  gate->status = status;
  jobs_push(gate->gates->jobs, &gate->job);
}

/* Called with the lock held. */
static void open_gate(Gate *gate) {
  gate->open = true;
  if (!gate->loose) return;
  unlink_gate(gate);
  free(gate);
}

bool gate_answer(Gates *gates, uint64_t token) {
  pthread_mutex_lock(&gates->lock);
  Gate *gate = gates->all;
  while (gate && (gate->kind != GATE_CALLBACK || gate->token != token || gate->open))
    gate = gate->next;
  if (gate) open_gate(gate);
  pthread_cond_broadcast(&gates->moved);
  pthread_mutex_unlock(&gates->lock);
  return gate != NULL;
}

void gate_open(Gate *gate) {
  Gates *gates = gate->gates;
  pthread_mutex_lock(&gates->lock);
  open_gate(gate);
  pthread_cond_broadcast(&gates->moved);
  pthread_mutex_unlock(&gates->lock);
}

/* Called with the lock held. */
static Gate *pulling(Gates *gates, uint32_t tag) {
  Gate *gate = gates->all;
  while (gate && (gate->kind != GATE_PULL || gate->tag != tag || !gate->piece || gate->landed))
    gate = gate->next;
  return gate;
}

void gate_expect(Gate *gate, Piece *piece) {
  pthread_mutex_lock(&gate->gates->lock);
  gate->piece = piece;
  gate->coming = gate->landed = false;
  pthread_mutex_unlock(&gate->gates->lock);
}

void *gate_room(Gates *gates, uint32_t tag, size_t n) {
  pthread_mutex_lock(&gates->lock);
  Gate *gate = pulling(gates, tag);
  void *room = NULL;
  if (gate && gate->piece->size == n && !gate->coming) {
    gate->coming = true;
    room = gate->piece->bytes;
  }
  pthread_mutex_unlock(&gates->lock);
  return room;
}

void gate_landed(Gates *gates, uint32_t tag) {
  pthread_mutex_lock(&gates->lock);
  Gate *gate = pulling(gates, tag);
  if (gate) gate->landed = true;
  pthread_cond_broadcast(&gates->moved);
  pthread_mutex_unlock(&gates->lock);
}

bool gate_wait(Gate *gate) {
  Gates *gates = gate->gates;
  pthread_mutex_lock(&gates->lock);
  while (!gate->landed && !gates->ended) pthread_cond_wait(&gates->moved, &gates->lock);
  bool landed = gate->landed;
  gate->piece = NULL;
  pthread_mutex_unlock(&gates->lock);
  return landed;
}

void gates_end(Gates *gates) {
  pthread_mutex_lock(&gates->lock);
  gates->ended = true;
  pthread_cond_broadcast(&gates->moved);
  pthread_mutex_unlock(&gates->lock);
}

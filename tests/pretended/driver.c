/* The part of NVIDIA's libcuda.so.1 that PyTorch asks for in a backward pass. */
int cuInit(unsigned flags) { return 100; }                                   /* no device */
int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) {
  *flags = 0;
  *active = 0;
  return 0;
}

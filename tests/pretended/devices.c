/* Loaded before PyTorch's own: `pretend_devices(n)` sets how many CUDA devices it believes in. */
#include <stdbool.h>
static signed char devices = 0;
void pretend_devices(int n) { devices = n; }
signed char _ZN3c104cuda12device_countEv(void) { return devices; }         /* c10::cuda:: */
bool _ZN3c104cuda17hasPrimaryContextEa(signed char device) { return false; }

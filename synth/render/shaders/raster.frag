#version 430
// The number of the nearest triangle; as a float, because GL clears integer pictures to nothing defined.
out float triangle;

void main() {
    triangle = float(gl_PrimitiveID);
}
